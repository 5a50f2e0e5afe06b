// PGlite, made durable. Out of the box it runs PostgreSQL with -F (no fsync), and its file system has no fsync at all: an
// acknowledged row survives a killed process but not a power cut. We start it with fsync on and give its file system one. The WAL has
// to be synced by fsync, not fdatasync: the WASM build's fdatasync is an empty function.
import { closeSync, existsSync, fsyncSync, openSync, readdirSync, statSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PGlite } from '@electric-sql/pglite';
import { drizzle } from 'drizzle-orm/pglite';
import { migrate } from 'drizzle-orm/pglite/migrator';
import { type Database, type Db, migrationsFolder } from './database.ts';
import { causeMessage, LedgerError } from './errors.ts';
import { PgliteClient } from './pglite-client.ts';
import * as schema from './schema.ts';

/** What we need of Emscripten's file system: the operations of an open file, which NODEFS shares between all of its files. */
interface FileOperations {
  fsync?: (stream: { nfd?: number }) => number;
}
interface EmscriptenFs {
  lookupPath(path: string): { node: { stream_ops: FileOperations } };
}

const EIO = 29; // WASI's number, which is what the WASM build's fsync expects back

/** Opens (or creates) the PGlite database in `folder`. The caller holds the lock: PGlite itself has none. */
export async function openPglite(folder: string): Promise<Database> {
  await mkdir(dirname(folder), { recursive: true });
  let client: PgliteClient | undefined;
  try {
    if (!existsSync(folder)) await initialise(folder);
    client = new PgliteClient(folder, await start(folder), () => recover(folder));
    const db = drizzle({ client: client as unknown as PGlite, schema });
    await migrate(db, { migrationsFolder });
    await client.exec('checkpoint');
    syncTree(folder);
    const opened = client;
    return {
      db: db as unknown as Db,
      folder,
      check: () => {},
      checkpoint: async () => {
        await opened.exec('checkpoint');
      },
      close: () => opened.close(),
    };
  } catch (error) {
    await client?.close().catch(() => {});
    throw new LedgerError('open', `cannot open the ledger in ${folder}: ${causeMessage(error)}`, {
      cause: error,
    });
  }
}

async function start(folder: string): Promise<PGlite> {
  const startParams = [
    ...PGlite.defaultStartParams.filter((param) => param !== '-F'),
    '-c',
    'wal_sync_method=fsync',
    // Statements are prepared, and still planned for the values they get: without them a chunk of records is decoded once for each of its rows.
    '-c',
    'plan_cache_mode=force_custom_plan',
  ];
  const client = await PGlite.create({ dataDir: folder, startParams });
  makeDurable(client);
  return client;
}

/** Opens a database that stopped: what it wrote while it recovered was not synced. */
async function recover(folder: string): Promise<PGlite> {
  const client = await start(folder);
  await client.exec('checkpoint');
  syncTree(folder);
  return client;
}

/** A new database appears whole: one that a kill left half made would look like one that lost its data. */
async function initialise(folder: string): Promise<void> {
  const beside = `${folder}.new`;
  await rm(beside, { recursive: true, force: true });
  await (await PGlite.create({ dataDir: beside })).close();
  syncTree(beside);
  await rename(beside, folder);
}

function makeDurable(client: PGlite): void {
  const fs = (client.Module as unknown as { FS: EmscriptenFs }).FS;
  fs.lookupPath('/pglite/data/base').node.stream_ops.fsync = ({ nfd }) => {
    try {
      if (nfd !== undefined) fsyncSync(nfd);
      return 0;
    } catch {
      return EIO; // PostgreSQL panics on it, as it should: what it wrote may be gone
    }
  };
}

/** Syncs every file and folder: what initdb, or recovery from a crash, wrote before we could hook in. */
function syncTree(path: string): void {
  const folder = statSync(path).isDirectory();
  if (folder) for (const name of readdirSync(path)) syncTree(join(path, name));
  if (folder && process.platform === 'win32') return;
  const file = openSync(path, folder ? 'r' : 'r+');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
