import { AlgorithmError, requireInteger, requireNumber } from './errors.ts';

/**
 * When missing stages are trained again: at once; once `count` erased records wait or the first of them has waited for `minutes`, whichever
 * comes first; when no shard serves anything any more; or when somebody says so. A repair that has begun goes on until no stage is missing.
 */
export type RepairPolicy =
  | { kind: 'at-once' }
  | { kind: 'batch'; count?: number; minutes?: number }
  | { kind: 'exhaustion' }
  | { kind: 'manual' };

/** What a policy looks at. */
export interface RepairNeed {
  /** Erased records that no complete repair has followed yet. */
  pending: number;
  /** How long the first of them has waited. */
  waitedMinutes: number;
  /** Whether no shard serves anything. */
  exhausted: boolean;
}

/** Minutes until a repair is due if nothing else is erased: 0 now, Infinity never by time alone. With nothing pending none is due. */
export function minutesUntilRepair(policy: RepairPolicy, need: RepairNeed): number {
  const { pending, waitedMinutes, exhausted } = need;
  if (pending === 0) return Infinity;
  switch (policy.kind) {
    case 'at-once':
      return 0;
    case 'exhaustion':
      return exhausted ? 0 : Infinity;
    case 'manual':
      return Infinity;
    case 'batch': {
      const { count = Infinity, minutes = Infinity } = policy;
      return pending >= count ? 0 : Math.max(0, minutes - waitedMinutes);
    }
  }
}

/** @throws AlgorithmError for a batch without a size, or numbers out of range */
export function checkRepairPolicy(policy: RepairPolicy): void {
  if (policy.kind !== 'batch') return;
  const { count, minutes } = policy;
  if (count === undefined && minutes === undefined)
    throw new AlgorithmError('a batch policy needs a count or minutes');
  requireInteger('count', count ?? 1, 1);
  requireNumber('minutes', minutes ?? 0, 0);
}
