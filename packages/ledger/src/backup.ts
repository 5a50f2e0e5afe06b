// A backup is a folder that looks like the run's own, and `backup.json`, written last, which says what must be in it. The database's files
// are copied while a transaction keeps every other out: what is copied is what a kill at that moment would leave, and the database
// recovers from that. Only the adapters of active stages are in it: what an erasure deactivated is not kept.
import { createHash } from 'node:crypto';
import { copyFile, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, isAbsolute, join, normalize, relative, resolve, sep } from 'node:path';
import { canonicalJson, sha256Hex } from '@s3t/algorithm';
import type { AdapterStore } from './adapter-store.ts';
import { type Database, type Db, transaction } from './database.ts';
import { AdapterMissingError, LedgerError, StoreWriteError } from './errors.ts';
import { erasures, run } from './schema.ts';
import { syncFolder } from './sync-folder.ts';
import { latestVersion, readStages } from './versions.ts';

const MANIFEST = 'backup.json';
const FORMAT = 's3t-backup-1';

/** What a backup holds, of which moment. */
export interface BackupManifest {
  format: typeof FORMAT;
  /** The run's id. */
  run: string;
  /** Milliseconds since 1970. */
  at: number;
  version: number;
  /** Digest of the version's manifest. */
  manifest: string;
  /** How many erasures the ledger knew. */
  erasures: number;
  /** Relative, with `/`; those of a database count even where nothing is in them. */
  folders: string[];
  files: { path: string; bytes: number; sha256: string }[];
}

export interface BackupOptions {
  /** Files of the run folder to take along, where they are there. */
  files: readonly string[];
  /** Called after each file. */
  onFile?: ((done: number, total: number) => void) | undefined;
  /** Ends it early, with its reason. */
  signal?: AbortSignal | undefined;
}

interface Source {
  database: Database;
  adapters: AdapterStore;
  /** The run folder. */
  folder: string;
}

/** See `Ledger.backup`. What it wrote is removed when it fails. */
export async function writeBackup(
  { database, adapters, folder }: Source,
  target: string,
  { files, onFile, signal }: BackupOptions,
): Promise<BackupManifest> {
  const into = resolve(target);
  const data = database.folder;
  if (data === null)
    throw new LedgerError(
      'invalid',
      `${folder}: its ledger is in PostgreSQL, which pg_dump backs up; stop the run, and copy its folder beside that`,
    );
  const isThere = await assertEmpty(into);
  try {
    await mkdir(join(into, 'adapters'), { recursive: true, mode: 0o700 });
    // Most of them are copied before anybody has to wait.
    const early = new Set<string>();
    for (const digest of await adapters.list()) {
      signal?.throwIfAborted();
      if (await copied(adapters.path(digest), adapterIn(into, digest))) early.add(digest);
    }
    await database.checkpoint();
    const { folders, ...moment } = await transaction(database, async (tx) => {
      for (const digest of await activeWeights(tx)) {
        if (!early.delete(digest) && !(await copied(adapters.path(digest), adapterIn(into, digest))))
          throw new AdapterMissingError(adapters.path(digest));
      }
      const folders = await copyTree(data, join(into, 'ledger'), 'ledger');
      for (const file of files) await copied(join(folder, file), join(into, file));
      return { folders, ...(await momentOf(tx)) };
    });
    // Deactivated meanwhile, or never published.
    for (const digest of early) await rm(adapterIn(into, digest));
    folders.push('adapters');
    const paths = await filesUnder(into);
    const listed: BackupManifest['files'] = [];
    for (const path of paths) {
      signal?.throwIfAborted();
      listed.push({ path, ...(await digestOfFile(join(into, path))) });
      onFile?.(listed.length, paths.length);
    }
    for (const path of ['.', ...folders]) await syncFolder(join(into, path));
    const manifest = { format: FORMAT, at: Date.now(), ...moment, folders, files: listed } as const;
    await writeManifest(into, manifest);
    return manifest;
  } catch (error) {
    await discard(into, isThere);
    signal?.throwIfAborted();
    throw error instanceof LedgerError ? error : new StoreWriteError(into, error);
  }
}

/** Reads what a backup says of itself. @throws LedgerError `backup` naming what is wrong */
export async function readBackup(from: string): Promise<BackupManifest> {
  const file = join(from, MANIFEST);
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new LedgerError(
      'backup',
      `${from}: is no backup, or one that was not finished: it has no ${MANIFEST}`,
    );
  }
  let parsed: BackupManifest & { sha256: string };
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new LedgerError('backup', `${file}: is cut off or was changed`, { cause });
  }
  const { sha256, ...manifest } = parsed;
  if (manifest.format !== FORMAT)
    throw new LedgerError('backup', `${file}: format: expected ${FORMAT}; a newer s3t may read it`);
  if (sha256 !== sha256Hex(canonicalJson(manifest)))
    throw new LedgerError('backup', `${file}: was changed after it was written`);
  for (const path of [...manifest.folders, ...manifest.files.map((each) => each.path)])
    if (isAbsolute(path) || normalize(path).split(sep).includes('..'))
      throw new LedgerError('backup', `${file}: names ${JSON.stringify(path)}, which is outside of it`);
  return manifest;
}

/** Copies a backup's files into a folder, each held against its checksum. @throws LedgerError `backup` naming the first that differs */
export async function restoreFiles(
  from: string,
  { folders, files }: BackupManifest,
  into: string,
  onFile?: (done: number, total: number) => void,
): Promise<void> {
  await mkdir(into, { recursive: true });
  for (const path of folders) await mkdir(join(into, path), { recursive: true, mode: 0o700 });
  for (const [at, { path, bytes, sha256 }] of files.entries()) {
    const source = join(from, path);
    const size = await stat(source).then(
      (found) => found.size,
      (error) => {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
        throw error;
      },
    );
    if (size === null) throw new LedgerError('backup', `${source}: is missing from the backup`);
    if (size !== bytes)
      throw new LedgerError('backup', `${source}: has ${size} bytes, not the ${bytes} backed up`);
    await copyFile(source, join(into, path));
    // The copy is looked at, not what it was copied from.
    if ((await digestOfFile(join(into, path))).sha256 !== sha256)
      throw new LedgerError('backup', `${source}: was changed after it was backed up`);
    onFile?.(at + 1, files.length);
  }
}

/** @returns whether the folder is there, empty */
async function assertEmpty(folder: string): Promise<boolean> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    if (error.code === 'ENOTDIR') return ['a file'];
    throw error;
  });
  if (names !== null && names.length > 0)
    throw new LedgerError(
      'invalid',
      `${folder}: is there already; a backup is written into a new or empty folder`,
    );
  return names !== null;
}

/** Removes what was written, but not a folder that somebody made for it. */
async function discard(into: string, keepFolder: boolean): Promise<void> {
  const paths = keepFolder ? (await readdir(into)).map((name) => join(into, name)) : [into];
  for (const path of paths) await rm(path, { recursive: true, force: true }).catch(() => {});
}

function adapterIn(folder: string, digest: string): string {
  return join(folder, 'adapters', `${digest}.safetensors`);
}

async function activeWeights(tx: Db): Promise<Set<string>> {
  return new Set((await readStages(tx, 'active')).map(({ weights }) => weights));
}

async function momentOf(tx: Db): Promise<Pick<BackupManifest, 'run' | 'version' | 'manifest' | 'erasures'>> {
  const [row] = await tx.select({ id: run.id }).from(run);
  if (row === undefined) throw new LedgerError('no-run', 'the ledger holds no run yet');
  const { version, manifest } = await latestVersion(tx);
  return { run: row.id, version, manifest, erasures: await tx.$count(erasures) };
}

/** Copies a file if it is there; says whether it was. */
async function copied(from: string, to: string): Promise<boolean> {
  try {
    await copyFile(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && (await isMissing(from))) return false;
    throw error;
  }
}

async function isMissing(path: string): Promise<boolean> {
  return stat(path).then(
    () => false,
    () => true,
  );
}

/** Copies a folder; returns the folders in it, itself first, as paths below `name`. */
async function copyTree(from: string, to: string, name: string): Promise<string[]> {
  await mkdir(to, { mode: 0o700 });
  const folders = [name];
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) folders.push(...(await copyTree(source, target, `${name}/${entry.name}`)));
    else if (entry.isFile()) await copyFile(source, target);
  }
  return folders;
}

async function filesUnder(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .sort();
}

/** Reads a file to its end, and syncs it: a checksum of what a power cut may take would promise too much. */
async function digestOfFile(file: string): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  const handle = await open(file, 'r+');
  try {
    await handle.sync();
    for await (const chunk of handle.createReadStream({ autoClose: false, start: 0 })) {
      hash.update(chunk as Buffer);
      bytes += (chunk as Buffer).length;
    }
  } finally {
    await handle.close();
  }
  return { bytes, sha256: hash.digest('hex') };
}

async function writeManifest(into: string, manifest: BackupManifest): Promise<void> {
  const file = join(into, MANIFEST);
  const text = `${JSON.stringify({ ...manifest, sha256: sha256Hex(canonicalJson({ ...manifest })) }, null, 1)}\n`;
  await writeFile(`${file}.part`, text, { flush: true, mode: 0o600 });
  await rename(`${file}.part`, file);
  await syncFolder(into);
  await syncFolder(dirname(into));
}
