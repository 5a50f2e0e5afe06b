import { setTimeout as sleep } from 'node:timers/promises';
import type { Unlearner } from '@s3t/unlearner';
import { CommandError } from './errors.ts';
import { RunServer } from './remote.ts';
import { Progress } from './terminal/progress.ts';

/** Opens a run in this process, hands it to `use` and closes it whatever happens. */
export async function withRun<T>(
  options: { run: string; config?: string },
  use: (unlearner: Unlearner) => Promise<T>,
): Promise<T> {
  const unlearner = await openPatiently(options);
  try {
    return await use(unlearner);
  } finally {
    await unlearner.close();
  }
}

/** A holder that tells no address may be a server that is just starting, or a command that is just ending: it is given this long. */
const PATIENCE_MS = 3000;

async function openPatiently(options: { run: string; config?: string }): Promise<Unlearner> {
  // Only here: it brings the engine and the database, which `s3t --help` can do without.
  const { Unlearner } = await import('@s3t/unlearner');
  const progress = new Progress();
  const onDownload = ({ file, bytes, total }: { file: string; bytes: number; total: number }) =>
    progress.update({ label: 'download', done: bytes, total, note: file });
  const onCheck = ({ done, total }: { done: number; total: number }) =>
    progress.update({ label: 'check pictures', done, total });
  return patiently(() => Unlearner.open({ ...options, onDownload, onCheck }).finally(() => progress.clear()));
}

/** Tries again for a while where a run is held by who tells no address. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const isHeld = (error as { code?: unknown }).code === 'held';
      if (!isHeld || holderOf(error) !== undefined || performance.now() > deadline) throw error;
      await sleep(250);
    }
  }
}

/** Reads of a run here, without a device, or, when a server holds the run, asks the server. */
export async function readOrAsk<T>(
  here: () => Promise<T>,
  there: (server: RunServer) => Promise<T>,
): Promise<T> {
  return heldBy(() => patiently(here), there);
}

/** Does something to a run here, or, when a server holds the run, lets the server do it. */
export async function withRunOrServer<T>(
  run: string,
  here: (unlearner: Unlearner) => Promise<T>,
  there: (server: RunServer) => Promise<T>,
): Promise<T> {
  return heldBy(() => withRun({ run }, here), there);
}

/** Does something here, or, when that fails because a server holds the run, lets the server do it. */
export async function heldBy<T>(
  here: () => Promise<T>,
  there: (server: RunServer) => Promise<T>,
): Promise<T> {
  try {
    return await here();
  } catch (error) {
    const url = holderOf(error);
    if (url === undefined) throw error;
    return there(new RunServer(url, process.env.S3T_API_KEY));
  }
}

/**
 * As `withRun`, for what no server does: where one holds the run, the error says what can be done.
 *
 * @param instead what does the same while the server goes on; told where it listens
 */
export async function withFreeRun<T>(
  run: string,
  use: (unlearner: Unlearner) => Promise<T>,
  instead: (url: string) => string,
): Promise<T> {
  return whereFree(() => withRun({ run }, use), instead);
}

/** The same for work that opens the run by itself. */
export async function whereFree<T>(work: () => Promise<T>, instead: (url: string) => string): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const url = holderOf(error);
    if (url === undefined) throw error;
    throw new CommandError(`${(error as Error).message}; stop it first, or ${instead(url)}`, {
      cause: error,
    });
  }
}

/** Where the process that holds the run listens, if that is why opening it failed. */
function holderOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code, url } = error as { code?: unknown; url?: unknown };
  if (code === 'held' && typeof url === 'string') return url;
  return holderOf(error.cause);
}
