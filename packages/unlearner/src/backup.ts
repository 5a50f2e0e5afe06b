import { mkdir, readdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import {
  type BackupManifest,
  type Ledger,
  openLedger,
  readBackup,
  restoreFiles,
  syncFolder,
} from '@s3t/ledger';
import { UnlearnerError } from './errors.ts';
import {
  JOURNAL_FILE,
  KEY_FILE,
  noRun,
  RESTORING,
  RUN_FILE,
  type StoredConfig,
  storeOf,
  translate,
  writeStore,
} from './open-run.ts';
import { manifestFunction } from './setting.ts';

const API_KEYS_FILE = 'api-keys.json';
/** What a restored run folder may hold, in the order in which it is put there: with the last it is a run. */
const PARTS = ['adapters', API_KEYS_FILE, KEY_FILE, JOURNAL_FILE, 'ledger', RUN_FILE];

export interface BackupChoice {
  /** Whether the key that signs receipts is taken along, where it lies in the run folder. Default true. */
  signingKey?: boolean;
  /** Called after each file. */
  onFile?: (done: number, total: number) => void;
  /** Ends it early, with its reason. */
  signal?: AbortSignal;
}

/** A backup that was made. */
export interface Backup extends Pick<BackupManifest, 'run' | 'version' | 'manifest' | 'erasures'> {
  /** When, ISO 8601. */
  at: string;
  files: number;
  bytes: number;
  /** Whether the key that signs receipts is in it. */
  signingKey: boolean;
}

export interface RestoreOptions {
  /** The backup's folder. */
  backup: string;
  /** The run folder to be: new, or empty, or with nothing in it but the journal and what a restoration left that was cut off. */
  run: string;
  /** The newest journal of erasures there is. Where the run folder has a newer one, that one counts; where neither is there, the backup's own. */
  journal?: string;
  onFile?: (done: number, total: number) => void;
}

/** A run that was restored. */
export interface Restored extends Omit<Backup, 'erasures'> {
  /** Erasures that came after the backup, and were carried out again. */
  reapplied: number;
  /** Adapters that those destroyed again. */
  destroyed: number;
  /** Whether a journal beyond the backup's own was there: without one nobody knows what was erased since. */
  newerJournal: boolean;
}

/** Backs up a run that no process holds. Needs no device and no base. @throws UnlearnerError, with nothing left behind */
export async function backupRun(run: string, into: string, choice: BackupChoice = {}): Promise<Backup> {
  try {
    const store = await storeOf(run);
    if (store === null) throw noRun(run);
    assertEmbedded(store, `${run}: `);
    await using ledger = await openLedger({ store, folder: run });
    await catchUp(ledger, run);
    return await backupLedger(ledger, into, choice);
  } catch (error) {
    throw told(error);
  }
}

/** @throws UnlearnerError `usage` for a store that is not ours to copy */
export function assertEmbedded(store: string, where = ''): void {
  if (!store.startsWith('file:'))
    throw new UnlearnerError(
      'usage',
      `${where}the ledger of this run is in PostgreSQL, which pg_dump backs up; stop the run, and copy its folder beside that`,
    );
}

/** Backs up what a ledger holds, and what lies beside it. */
export async function backupLedger(
  ledger: Ledger,
  into: string,
  { signingKey = true, onFile, signal }: BackupChoice,
): Promise<Backup> {
  const files = [RUN_FILE, JOURNAL_FILE, API_KEYS_FILE, ...(signingKey ? [KEY_FILE] : [])];
  return summary(await ledger.backup(into, { files, onFile, signal }));
}

/**
 * Puts a backup back. What is restored is a run at the end, whole: every file has its checksum, what the journal knows to have been erased
 * since is erased, and the adapters that had learnt from it are destroyed. The run folder has the newest journal before anything else.
 * @throws UnlearnerError naming what is wrong, with nothing in the run folder but the journal
 */
export async function restoreRun(options: RestoreOptions): Promise<Restored> {
  try {
    return await restored(options);
  } catch (error) {
    throw told(error);
  }
}

async function restored({ backup, run, journal, onFile }: RestoreOptions): Promise<Restored> {
  const folder = resolve(run);
  await assertRoom(folder);
  const manifest = await readBackup(backup);
  const own = await journalAt(join(folder, JOURNAL_FILE));
  const newest = newerOf(own, journal === undefined ? null : await givenJournal(journal));
  if (newest !== null) await assertGoesOn(newest, backup);
  const isNew = (await mkdir(folder, { recursive: true })) !== undefined;
  // On its file system, and it may be a mount point or a link.
  const restoring = join(folder, RESTORING);
  const clear = async (): Promise<void> => {
    for (const name of [...PARTS, RESTORING])
      if (name !== JOURNAL_FILE) await rm(join(folder, name), { recursive: true, force: true });
  };
  try {
    if (newest !== null && newest !== own) await putJournal(folder, newest.bytes);
    await clear();
    await mkdir(restoring, { mode: 0o700 });
    await restoreFiles(backup, manifest, restoring, onFile);
    // The database lies in the run folder now, wherever it did before.
    await writeStore(restoring, 'file:');
    if (newest !== null)
      await writeFile(join(restoring, JOURNAL_FILE), newest.bytes, { flush: true, mode: 0o600 });
    const done = await eraseAgain(restoring);
    await moveUp(folder);
    if (isNew) await syncFolder(dirname(folder));
    const { erasures: _, ...about } = summary(manifest);
    return { ...about, ...done, newerJournal: newest !== null };
  } catch (error) {
    await clear();
    if (isNew) {
      // It came from elsewhere, and is still there.
      await rm(join(folder, JOURNAL_FILE), { force: true });
      await rmdir(folder);
    }
    throw error;
  }
}

/** Puts what was restored in its place, as part of the run folder. */
async function moveUp(folder: string): Promise<void> {
  const restoring = join(folder, RESTORING);
  await syncFolder(join(restoring, 'adapters'));
  for (const name of PARTS) {
    // All the rest is durable before it is a run.
    if (name === RUN_FILE) await syncFolder(folder);
    await rename(join(restoring, name), join(folder, name)).catch(ifThere);
  }
  await rmdir(restoring);
  await syncFolder(folder);
}

function summary({ run, at, version, manifest, erasures, files }: BackupManifest): Backup {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const signingKey = files.some(({ path }) => path === KEY_FILE);
  return {
    ...{ run, version, manifest, erasures, at: new Date(at).toISOString() },
    ...{ files: files.length, bytes, signingKey },
  };
}

/** @throws UnlearnerError when a run folder to be has something in it that is no journal, and was not left by a restoration */
async function assertRoom(folder: string): Promise<void> {
  const names = (await readdir(folder).catch(ifThere)) ?? [];
  const isCutOff = names.includes(RESTORING) && !names.includes(RUN_FILE);
  const known = isCutOff ? [...PARTS, RESTORING] : [JOURNAL_FILE];
  if (names.some((name) => !known.includes(name)))
    throw new UnlearnerError(
      'usage',
      `${folder}: is not empty; restore into a new folder, or one that holds only ${JOURNAL_FILE}`,
    );
}

interface JournalFile {
  file: string;
  /** Whole lines: an erasure of which a power cut left a half was not acknowledged. */
  bytes: Buffer;
}

async function journalAt(file: string): Promise<JournalFile | null> {
  const bytes = await readFile(file).catch(ifThere);
  return bytes ? { file, bytes: bytes.subarray(0, bytes.lastIndexOf('\n') + 1) } : null;
}

/** @throws UnlearnerError when it is not there */
async function givenJournal(file: string): Promise<JournalFile> {
  const journal = await journalAt(file);
  if (journal === null) throw new UnlearnerError('usage', `${file}: there is no such journal`);
  return journal;
}

/** The one that goes on from the other, the first where they are the same. @throws UnlearnerError when neither does */
function newerOf(one: JournalFile | null, other: JournalFile | null): JournalFile | null {
  if (one === null || other === null) return one ?? other;
  if (isBeginning(other, one)) return one;
  if (isBeginning(one, other)) return other;
  throw new UnlearnerError(
    'usage',
    `${one.file} and ${other.file}: neither goes on from the other; move away the one that is not this run's`,
  );
}

function isBeginning({ bytes }: JournalFile, of: JournalFile): boolean {
  return of.bytes.subarray(0, bytes.length).equals(bytes);
}

/** @throws UnlearnerError when a journal does not go on from the backup's own */
async function assertGoesOn(newest: JournalFile, backup: string): Promise<void> {
  const older = await journalAt(join(backup, JOURNAL_FILE));
  if (older === null || isBeginning(older, newest)) return;
  throw new UnlearnerError(
    'usage',
    isBeginning(newest, older)
      ? `${newest.file}: is older than the backup; name the newest journal of the run`
      : `${newest.file}: does not go on from the backup's journal; is it of another run?`,
  );
}

/** Puts a journal into a run folder: the one that was there or this one is there at any moment. */
async function putJournal(folder: string, bytes: Buffer): Promise<void> {
  const part = join(folder, RESTORING, `${JOURNAL_FILE}.part`);
  await mkdir(dirname(part), { recursive: true, mode: 0o700 });
  await writeFile(part, bytes, { flush: true, mode: 0o600 });
  await rename(part, join(folder, JOURNAL_FILE));
  await syncFolder(folder);
}

/** For what need not be there. */
function ifThere(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT') return null;
  throw error;
}

/** Carries out what the journal knows and the ledger does not, and destroys what had learnt from it. */
async function eraseAgain(folder: string): Promise<{ reapplied: number; destroyed: number }> {
  await using ledger = await openLedger({ store: 'file:', folder });
  const reapplied = await catchUp(ledger, folder);
  // Opening the run acknowledges them: that takes its base, and the key that signs.
  const destroyed = await ledger.adapters.destroyAll(await ledger.pendingDestruction());
  return { reapplied, destroyed };
}

async function catchUp(ledger: Ledger, folder: string): Promise<number> {
  const run = await ledger.run();
  if (run === null) throw noRun(folder);
  const { ensemble } = (run.config as StoredConfig).config;
  ledger.useManifest(manifestFunction({ ...run, ensemble }));
  return ledger.catchUp(join(folder, JOURNAL_FILE));
}

/** Errors of the ledger, and what a backup has of its own. */
function told(error: unknown): unknown {
  const code = (error as { code?: unknown }).code;
  if (code === 'backup') return new UnlearnerError('corrupt', (error as Error).message, { cause: error });
  if (code === 'invalid') return new UnlearnerError('usage', (error as Error).message, { cause: error });
  return translate(error);
}
