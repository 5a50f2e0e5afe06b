// PGlite has no lock on its folder: a second process opens it without an error and its writes are lost. So a run folder has ours: a file
// `lock` that appears whole or not at all (linked from a finished file) and is replaced whole (renamed over).
//
// A dead holder's lock is the hard part: two processes may both find it dead, and the slower one must not remove the lock the
// faster one has just taken. Whoever wants to replace a dead lock first takes the lock `lock.break` (the same way, so it may be
// broken in turn), looks again, and renames its own file over the dead one: `lock` never disappears in between.
import { link, mkdir, open, readdir, readFile, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LedgerError, LedgerHeldError } from './errors.ts';
import { isGone, type ProcessIdentity, thisProcess } from './process-identity.ts';

/** Who holds a lock. */
export interface LockRecord extends ProcessIdentity {
  /** Unique to one taking of the lock. */
  token: string;
  /** When it was taken, milliseconds since 1970. */
  at: number;
  /** Where a server of the run listens, when one said so. */
  url: string | null;
  /** The process that listens there: the holder, or the one that it works for. */
  server: number | null;
}

/** A lock we hold. */
export interface Lock {
  readonly record: LockRecord;
  /** Tells readers of the lock where the run is served. */
  publish(info: Pick<LockRecord, 'url' | 'server'>): Promise<void>;
  /** Gives it back. Doing so twice is harmless. */
  release(): Promise<void>;
}

const BREAK_WAIT_MS = 5000;
/** How long a process that has lost its server may take to let go. */
const ORPHAN_WAIT_MS = 30_000;

/** Who holds the run in `folder`, and whether that process still runs; null when nobody does. */
export async function readLock(folder: string): Promise<(LockRecord & { alive: boolean }) | null> {
  const record = await read(join(folder, 'lock'));
  return record === null ? null : { ...record, alive: !isGone(record) };
}

/** Takes the lock of `folder` (created when missing) or throws LedgerHeldError. */
export function acquireLock(folder: string): Promise<Lock> {
  return acquireFile(join(folder, 'lock'), folder);
}

/** As `acquireLock`, for a lock file of any name; `folder` is what errors call it. */
export async function acquireFile(file: string, folder: string): Promise<Lock> {
  await mkdir(dirname(file), { recursive: true });
  const lock = await take(file, folder);
  await sweep(file);
  return lock;
}

async function take(file: string, folder: string): Promise<Lock> {
  const record: LockRecord = {
    ...thisProcess(),
    token: crypto.randomUUID(),
    at: Date.now(),
    url: null,
    server: null,
  };
  const mine = await writeBeside(file, record);
  const deadline = Date.now() + BREAK_WAIT_MS;
  const orphanDeadline = Date.now() + ORPHAN_WAIT_MS;
  try {
    for (;;) {
      if (await linked(mine, file)) break;
      const holder = await read(file);
      if (holder === null) continue; // released between the two calls
      if (!isGone(holder)) {
        if (!isOrphan(holder) || Date.now() > orphanDeadline) throw held(folder, file, holder);
        await sleep(20);
        continue;
      }
      if (await replaceDead(file, folder, mine, holder.token)) break;
      if (Date.now() > deadline) throw held(folder, file, holder);
      await sleep(5);
    }
  } finally {
    await unlink(mine).catch(() => {});
  }
  return lockOn(file, record);
}

/** Whether the server that the holder works for has ended: it lets go, then, and a server that is started again need not fail before. */
function isOrphan({ server, ...holder }: LockRecord): boolean {
  return server !== null && server !== holder.pid && isGone({ ...holder, pid: server, started: null });
}

/** Replaces the lock with token `dead` by ours; false when someone else is at it or was faster. */
async function replaceDead(file: string, folder: string, mine: string, dead: string): Promise<boolean> {
  let breaking: Lock;
  try {
    breaking = await take(`${file}.break`, folder);
  } catch (error) {
    if (error instanceof LedgerHeldError) return false;
    throw error;
  }
  try {
    if ((await read(file))?.token !== dead) return false;
    await rename(mine, file);
    return true;
  } finally {
    await breaking.release();
  }
}

function lockOn(file: string, taken: LockRecord): Lock {
  let record = taken;
  return {
    get record() {
      return record;
    },
    publish: async ({ url, server }) => {
      if ((await read(file))?.token !== record.token) {
        throw new LedgerError('lock-lost', `${file} was taken away from this process`);
      }
      record = { ...record, url, server };
      await rename(await writeBeside(file, record), file);
    },
    release: async () => {
      // Nobody breaks the lock of a living process, so what we read is still there when we remove it.
      if ((await read(file))?.token === record.token) await unlink(file).catch(() => {});
    },
  };
}

async function writeBeside(file: string, record: LockRecord): Promise<string> {
  const beside = `${file}.${crypto.randomUUID()}`;
  const handle = await open(beside, 'wx');
  try {
    await handle.writeFile(`${JSON.stringify(record)}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  return beside;
}

/** What `writeBeside` is called, beside a lock or one for breaking it. */
const BESIDE = /^(\.break)*\.[0-9a-f-]{36}$/;
/** One that is only begun says nothing of its process, which needs far less to write it. */
const BEGUN_MS = 60_000;

/** Removes what processes left that were killed while they took the lock. Never throws: the lock is taken by then. */
async function sweep(file: string): Promise<void> {
  const [folder, name] = [dirname(file), basename(file)];
  for (const each of await readdir(folder).catch(() => [])) {
    if (!each.startsWith(name) || !BESIDE.test(each.slice(name.length))) continue;
    const path = join(folder, each);
    const isLeft = () =>
      read(path).then(
        (record) => record !== null && isGone(record),
        async () => Date.now() - (await stat(path)).mtimeMs > BEGUN_MS,
      );
    // Its own process may be removing it.
    if (await isLeft().catch(() => false)) await unlink(path).catch(() => {});
  }
}

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function read(file: string): Promise<LockRecord | null> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  try {
    const record = JSON.parse(text) as LockRecord;
    if (typeof record.pid === 'number' && typeof record.token === 'string') return record;
  } catch {}
  throw new LedgerError(
    'lock-unreadable',
    `${file} is not a lock this program wrote; remove it if nothing uses the run`,
  );
}

function held(folder: string, file: string, { pid, host, url, server }: LockRecord): LedgerHeldError {
  const here = host === thisProcess().host;
  const hint = here ? undefined : `if that machine is gone, remove ${file}`;
  return new LedgerHeldError({ folder, pid: server ?? pid, host, url, hint });
}
