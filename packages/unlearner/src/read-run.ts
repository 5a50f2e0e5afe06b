import { join } from 'node:path';
import { openLedger } from '@s3t/ledger';
import {
  JOURNAL_FILE,
  noRun,
  type OpenedRun,
  openLog,
  storedConfig,
  storeOf,
  translate,
} from './open-run.ts';
import { manifestFunction } from './setting.ts';
import { SliceDigests } from './slice-digests.ts';
import { statusOf } from './status.ts';
import type { Status } from './types.ts';
import { planWanted } from './work.ts';

/**
 * Where a run stands, by its ledger alone: without device, base or data. By the setting that the run was created with, whatever is installed now.
 * @returns null where a crash left an erasure unfinished: opening the run finishes it
 * @throws UnlearnerError `usage` where there is no run, `held` while another process has it
 */
export function readStatus(run: string): Promise<Status | null> {
  return readLedger(run, async (parts) => {
    const { ledger } = parts;
    const unfinished = await Promise.all([ledger.erasures('in_progress'), ledger.pendingDestruction()]);
    return unfinished.some(({ length }) => length > 0) ? null : statusIn(parts);
  });
}

/** As `readStatus`, of a ledger that is open, and whatever a crash left. */
export async function statusIn(parts: ReadRun): Promise<Status> {
  const { setting, sequences } = parts.run;
  const slices = await new SliceDigests(parts.ledger).read();
  return statusOf(parts, planWanted({ setting: JSON.parse(setting), sequences, slices }));
}

/** The public key of a run's receipts; it is made where there is none yet. As `readStatus`, it takes no device. */
export function readPublicKey(folder: string): Promise<string> {
  return readLedger(folder, async ({ ledger, run }) =>
    (await openLog(ledger, run, folder, undefined)).publicKey(),
  );
}

/** What of a run there is to be read without a device. */
export type ReadRun = Pick<OpenedRun, 'ledger' | 'located' | 'run'>;

/** Holds a run for as long as `use` takes. */
export async function readLedger<T>(folder: string, use: (parts: ReadRun) => Promise<T>): Promise<T> {
  try {
    const store = await storeOf(folder);
    if (store === null) throw noRun(folder);
    await using ledger = await openLedger({ store, folder });
    const run = await ledger.run();
    if (run === null) throw noRun(folder);
    const located = storedConfig(run, folder);
    ledger.useManifest(manifestFunction({ ...run, ensemble: located.config.ensemble }));
    await ledger.catchUp(join(folder, JOURNAL_FILE));
    return await use({ ledger, located, run });
  } catch (error) {
    throw translate(error);
  }
}
