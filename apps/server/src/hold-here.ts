import type { Unlearner } from '@s3t/unlearner';
import type { HeldRun, RunOptions } from './held-run.ts';

/** Opens the run in this process, beside the HTTP server: what the device's driver computes on the processor takes its turns from the requests. */
export async function holdHere(options: RunOptions): Promise<HeldRun> {
  const unlearner = await openRehearsed(options);
  return {
    service: unlearner,
    publishUrl: (url) => unlearner.publishUrl(url),
    close: () => unlearner.close(),
  };
}

/** Opens a run. The ledger is replayed in here: nothing is served before it holds. */
export async function openRehearsed(options: RunOptions): Promise<Unlearner> {
  // Only here: who leaves the run to another process loads neither its database nor its GPU driver.
  const { Unlearner } = await import('@s3t/unlearner');
  const unlearner = await Unlearner.open(options);
  try {
    await unlearner.rehearse();
    return unlearner;
  } catch (error) {
    await unlearner.close();
    throw error;
  }
}
