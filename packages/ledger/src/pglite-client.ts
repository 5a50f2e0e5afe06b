// PGlite, on whose failures one can rely. PostgreSQL panics where it cannot write or sync its log any more (a full disk, a failed fsync): what
// it has in memory may not be what is on disk, and it has to recover. PGlite does not notice: it calls the stopped database again and again, and
// the thread hangs for good. Here what was asked fails instead, and whoever asks next has the database opened again, which recovers from the
// log as after a kill.
import { closeSync, statfsSync } from 'node:fs';
import { open, readdir, rename, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { PGlite, Results } from '@electric-sql/pglite';
import { causeMessage, LedgerError } from './errors.ts';
import { PgliteStatements } from './pglite-statements.ts';

/** What we need of the WASM build: how PGlite lets it work, and its open files. */
interface Wasm {
  _PostgresMainLoopOnce(): unknown;
  _PostgresMainLongJmp(): unknown;
  _PostgresSendReadyForQueryIfNecessary(): unknown;
  _pgl_pq_flush(): unknown;
  stackRestore(to: number): void;
  FS: { streams: ({ nfd?: number } | null | undefined)[] };
}

/** An instance, and what is prepared in it. */
interface Living {
  client: PGlite;
  statements: PgliteStatements;
}

/** The size of a file of PostgreSQL's log. */
const SEGMENT = 16 * 2 ** 20;
/** Free besides, bytes, before a stopped database is opened again: it writes some small files, too. */
const MARGIN = 2 * 2 ** 20;

/** What drizzle calls of a PGlite: the same calls, on the instance that lives. */
export class PgliteClient {
  readonly #folder: string;
  readonly #recover: () => Promise<PGlite>;
  #living: Promise<Living>;
  /** Why the instance stopped; null while it lives. */
  #stopped: LedgerError | null = null;

  /** @param recover opens the database in `folder` once `first`, or the one after it, has stopped */
  constructor(folder: string, first: PGlite, recover: () => Promise<PGlite>) {
    this.#folder = folder;
    this.#recover = recover;
    this.#living = Promise.resolve(this.#watch(first));
  }

  async query<T>(...args: Parameters<PgliteStatements['query']>): Promise<Results<T>> {
    const { client, statements } = await this.#live();
    return client._runExclusiveTransaction(() => statements.query<T>(...args));
  }

  async exec(...args: Parameters<PGlite['exec']>): ReturnType<PGlite['exec']> {
    return (await this.#live()).client.exec(...args);
  }

  async transaction<T>(work: Parameters<typeof PGlite.prototype.transaction<T>>[0]): Promise<T> {
    const { client, statements } = await this.#live();
    // Drizzle calls nothing else of it.
    return client.transaction((tx) => work({ ...tx, query: (...args) => statements.query(...args) }));
  }

  async close(): Promise<void> {
    // A stopped one has no more to write: the next to open it recovers it.
    if (this.#stopped === null) await (await this.#living).client.close();
  }

  #live(): Promise<Living> {
    if (this.#stopped !== null) {
      const revived = this.#revive();
      revived.catch((error) => {
        if (this.#living === revived) this.#stopped = stoppedBy(error);
      });
      this.#living = revived;
      this.#stopped = null;
    }
    return this.#living;
  }

  async #revive(): Promise<Living> {
    try {
      // It has to go on in a new file of its log: where that cannot be made it would only panic again.
      await reserveSegment(join(this.#folder, 'pg_wal'));
      return this.#watch(await this.#recover());
    } catch (error) {
      throw stoppedBy(error);
    }
  }

  /** Has everything that is asked of an instance fail from its first panic on. */
  #watch(client: PGlite): Living {
    const wasm = client.Module as unknown as Wasm;
    const { POSTGRES_MAIN_LONGJMP: longJump } = client as unknown as { POSTGRES_MAIN_LONGJMP: number };
    let stopped: LedgerError | null = null;
    const stop = (error: unknown): LedgerError => {
      if (stopped !== null) return stopped;
      stopped = stoppedBy(hasRoom(this.#folder) ? error : noRoom());
      this.#stopped = stopped;
      // What it would have written is lost to it. Its files would stay open for as long as the process lives.
      for (const stream of wasm.FS.streams) if (stream?.nfd !== undefined) closeQuietly(stream.nfd);
      return stopped;
    };
    const wrap = (
      name: '_PostgresMainLoopOnce' | '_PostgresMainLongJmp',
      isAlive: (e: unknown) => boolean,
    ) => {
      const call = wasm[name];
      wasm[name] = () => {
        if (stopped !== null) throw stopped;
        try {
          return call();
        } catch (error) {
          if (!isAlive(error)) stop(error);
          throw error;
        }
      };
    };
    // PostgreSQL's errors are jumps, which PGlite takes; anything else has ended it.
    wrap('_PostgresMainLoopOnce', (error) => (error as { status?: number }).status === longJump);
    wrap('_PostgresMainLongJmp', () => false);
    const { stackRestore } = wasm;
    // The first thing that PGlite does with what was thrown, in the loop that it must be thrown out of.
    wasm.stackRestore = (to) => {
      if (stopped !== null) throw stopped;
      stackRestore(to);
    };
    for (const name of ['_PostgresSendReadyForQueryIfNecessary', '_pgl_pq_flush'] as const) {
      const call = wasm[name];
      wasm[name] = () => (stopped === null ? call() : undefined);
    }
    return { client, statements: new PgliteStatements(client) };
  }
}

/** Makes the file in which PostgreSQL's log goes on, as PostgreSQL itself makes them ahead. */
async function reserveSegment(log: string): Promise<void> {
  const last = (await readdir(log))
    .filter((name) => /^[0-9A-F]{24}$/.test(name))
    .sort()
    .at(-1);
  if (last === undefined) throw new Error(`${log}: holds no log`);
  const number = 256n * BigInt(`0x${last.slice(8, 16)}`) + BigInt(`0x${last.slice(16)}`) + 1n;
  const hex = (value: bigint) => value.toString(16).toUpperCase().padStart(8, '0');
  const file = join(log, `${last.slice(0, 8)}${hex(number / 256n)}${hex(number % 256n)}`);
  const temporary = join(log, 'xlogtemp.0');
  try {
    const handle = await open(temporary, 'w', 0o600);
    try {
      await handle.writeFile(new Uint8Array(SEGMENT));
      await handle.sync();
    } finally {
      await handle.close();
    }
    const { bavail, bsize } = await statfs(log);
    if (bavail * bsize < MARGIN) throw noRoom();
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

function hasRoom(folder: string): boolean {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize >= SEGMENT;
}

function noRoom(): Error {
  return Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
}

function stoppedBy(cause: unknown): LedgerError {
  return new LedgerError('database', `the ledger's database stopped: ${causeMessage(cause)}`, { cause });
}

function closeQuietly(file: number): void {
  try {
    closeSync(file);
  } catch {}
}
