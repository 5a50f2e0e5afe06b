import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type BackupManifest, type Ledger, openLedger, readBackup, restoreFiles } from '@s3t/ledger';
import { UnlearnerError } from './errors.ts';
import {
  JOURNAL_FILE,
  KEY_FILE,
  noRun,
  RUN_FILE,
  type StoredConfig,
  storeOf,
  translate,
  writeStore,
} from './open-run.ts';
import { manifestFunction } from './setting.ts';

const API_KEYS_FILE = 'api-keys.json';

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
  /** The run folder to be: new, or empty, or with nothing in it but the journal. */
  run: string;
  /** The newest journal of erasures there is. Default: the one in the run folder, else the backup's own. */
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
 * Puts a backup back. The run folder appears at the end, whole: every file has its checksum, what the journal knows to have been erased
 * since is erased, and the adapters that had learnt from it are destroyed.
 * @throws UnlearnerError naming what is wrong, with the run folder as it was
 */
export async function restoreRun({ backup, run, journal, onFile }: RestoreOptions): Promise<Restored> {
  const folder = resolve(run);
  const beside = `${folder}.restoring`;
  try {
    const own = await ownJournal(folder);
    const manifest = await readBackup(backup);
    const given = journal ?? own;
    const newest = given === undefined ? null : await newerThan(backup, given);
    await rm(beside, { recursive: true, force: true });
    await restoreFiles(backup, manifest, beside, onFile);
    // The database lies in the run folder now, wherever it did before.
    await writeStore(beside, 'file:');
    if (newest !== null) await writeFile(join(beside, JOURNAL_FILE), newest, { flush: true, mode: 0o600 });
    const done = await eraseAgain(beside);
    await mkdir(folder, { recursive: true });
    if (own !== undefined) await rm(own);
    // Only an empty folder is replaced.
    await rename(beside, folder);
    const { erasures: _, ...about } = summary(manifest);
    return { ...about, ...done, newerJournal: newest !== null };
  } catch (error) {
    await rm(beside, { recursive: true, force: true });
    throw told(error);
  }
}

function summary({ run, at, version, manifest, erasures, files }: BackupManifest): Backup {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const signingKey = files.some(({ path }) => path === KEY_FILE);
  return {
    ...{ run, version, manifest, erasures, at: new Date(at).toISOString() },
    ...{ files: files.length, bytes, signingKey },
  };
}

/** The journal of a run folder in which nothing else is. @throws UnlearnerError when something is */
async function ownJournal(folder: string): Promise<string | undefined> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  if (names.some((name) => name !== JOURNAL_FILE))
    throw new UnlearnerError(
      'usage',
      `${folder}: is not empty; restore into a new folder, or one that holds only ${JOURNAL_FILE}`,
    );
  return names.length === 0 ? undefined : join(folder, JOURNAL_FILE);
}

/** The bytes of a journal that goes on from the backup's own. @throws UnlearnerError when it does not */
async function newerThan(backup: string, journal: string): Promise<Buffer> {
  const older = await readFile(join(backup, JOURNAL_FILE)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return Buffer.alloc(0);
    throw error;
  });
  const newer = await readFile(journal).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT')
      throw new UnlearnerError('usage', `${journal}: there is no such journal`, { cause });
    throw cause;
  });
  if (newer.subarray(0, older.length).equals(older)) return newer;
  const isOlder = older.subarray(0, newer.length).equals(newer);
  throw new UnlearnerError(
    'usage',
    isOlder
      ? `${journal}: is older than the backup; name the newest journal of the run`
      : `${journal}: does not go on from the backup's journal; is it of another run?`,
  );
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
