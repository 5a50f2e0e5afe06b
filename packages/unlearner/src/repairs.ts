import { minutesUntilRepair, type RepairPolicy } from '@s3t/algorithm';
import type { RunConfig } from './config.ts';
import type { Mutex } from './mutex.ts';
import type { OpenedRun } from './open-run.ts';
import { stacksOf } from './setting.ts';
import type { RepairStanding, UnlearnerEvent } from './types.ts';

/** Erasures that one transaction writes of: one that arrives meanwhile waits for no more than these. */
const AT_ONCE = 20;

/** The policy of a configuration, in the planner's terms. */
function repairPolicyOf({ repair: { policy, count, minutes } }: RunConfig): RepairPolicy {
  return policy === 'batch'
    ? { kind: policy, ...(count !== undefined && { count }), ...(minutes !== undefined && { minutes }) }
    : { kind: policy };
}

/** What waits for a repair, and when the policy wants one. */
export async function repairStandingOf({
  ledger,
  located,
  run,
}: Pick<OpenedRun, 'ledger' | 'located' | 'run'>): Promise<RepairStanding> {
  const policy = repairPolicyOf(located.config);
  const { records: pending, since } = await ledger.awaitingRepair();
  const now = Date.now();
  // Asked after every erasure: what is served is only looked up where it matters.
  const isExhausted = async () =>
    stacksOf(await ledger.activeStages(), run.sequences, located.config.shards).every(
      ({ depth }) => depth === 0,
    );
  const minutes = minutesUntilRepair(policy, {
    pending,
    waitedMinutes: since === null ? 0 : (now - since) / 60_000,
    exhausted: policy.kind === 'exhaustion' && pending > 0 && (await isExhausted()),
  });
  return {
    policy: located.config.repair,
    pending,
    since,
    isDue: minutes === 0,
    dueAt: Number.isFinite(minutes) ? now + Math.ceil(minutes * 60_000) : null,
  };
}

/**
 * Takes note that no stage is missing any more: of each erasure that waited for it the log says when that was.
 * @param parts.changes has no erasure in between
 * @param isComplete whether no stage is missing
 * @returns the same, of the moment that was noted
 */
export async function noteRepair(
  { opened, changes, emit }: { opened: OpenedRun; changes: Mutex; emit: (event: UnlearnerEvent) => void },
  isComplete: () => Promise<boolean>,
): Promise<boolean> {
  const { ledger } = opened;
  const moment = await changes.run(async () =>
    (await isComplete())
      ? { waiting: await ledger.unrepaired(), served: await ledger.version(), at: Date.now() }
      : null,
  );
  if (!moment) return false;
  const { waiting: erasures, served, at } = moment;
  // After the section: it is true of that moment, whatever comes in between.
  for (let from = 0; from < erasures.length; from += AT_ONCE)
    await ledger.repaired(erasures.slice(from, from + AT_ONCE), { at, served });
  if (erasures.length > 0) emit({ type: 'repaired', erasures, at: new Date(at).toISOString() });
  return true;
}
