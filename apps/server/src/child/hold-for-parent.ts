import type { Unlearner } from '@s3t/unlearner';
import type { RunOptions } from '../held-run.ts';
import { hostService, refuseService } from './host.ts';
import { processPort } from './process-port.ts';

/** How long closing the run may take, milliseconds. */
const CLOSE_MS = 20_000;

/**
 * All that a process does which holds a run for its parent: opens it as its argument says (`RunOptions` as JSON), answers, and ends when the
 * parent lets go of it or is gone.
 */
export async function holdForParent(open: (options: RunOptions) => Promise<Unlearner>): Promise<void> {
  // A terminal and a service manager send their signals to both processes. The parent drains first, and then lets go of this one.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
  const parted = new Promise<void>((resolve) => process.once('disconnect', resolve));
  const port = processPort(process);
  let run: Unlearner;
  try {
    run = await open(JSON.parse(process.argv[2]!));
  } catch (error) {
    // Only the parent can tell of it, and parts once it has read why.
    refuseService(error, port);
    if (process.connected) await parted;
    process.exitCode = 1;
    return;
  }
  const stop = hostService(run, port);
  // Nothing on it can be used again. The next process opens another, and finishes what this one had begun.
  void run.lost.then((error) => {
    console.error(`s3t: ${error.message.split(';')[0]}`);
    process.exit(1);
  });
  if (process.connected) await parted;
  // Whatever still waits then: nobody is left to whom it matters, and the ledger bears being cut off.
  setTimeout(() => process.exit(1), CLOSE_MS).unref();
  stop();
  await run.close();
}
