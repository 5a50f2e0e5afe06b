// What follows from a run's status: pure functions.
import type { Deactivated, Place, Receipt, Shard, Stage, Status } from './types.ts';

/** `erased`: was deactivated and waits for repair; `missing`: was never trained. */
export type CellState = 'served' | 'active' | 'training' | 'erased' | 'missing';

export function keyOf({ shard, sequence, position }: Place): string {
  return `${shard}/${sequence}/${position}`;
}

export function stateOf(
  shard: Shard,
  row: number,
  stage: Stage,
  about: { training: ReadonlyMap<string, number>; erased: ReadonlySet<string> },
): CellState {
  if (row === shard.servedSequence && stage.position < shard.servedDepth) return 'served';
  if (stage.active) return 'active';
  if (about.training.has(stage.stage)) return 'training';
  const place = { shard: shard.shard, sequence: row, position: stage.position };
  return about.erased.has(keyOf(place)) ? 'erased' : 'missing';
}

/** The places that an erasure has ever emptied. */
export function erasedPlaces(receipts: readonly Receipt[]): Set<string> {
  return new Set(receipts.flatMap(({ deactivated }) => deactivated.map(keyOf)));
}

/**
 * Expected uniformly random erasures until no shard serves anything, from how the run stands: with m shards, L slices and k slices left
 * that open an active sequence, m L (1 + 1/2 + ... + 1/k). From a full ensemble that is Lemma 1 of the paper.
 */
export function erasuresLeft({ shards }: Status): number {
  let left = 0;
  let slices = 0;
  for (const { sequences } of shards) {
    slices += sequences[0]?.stages.length ?? 0;
    left += new Set(
      sequences
        .map(({ stages }) => stages[0])
        .filter((first) => first?.active)
        .map((first) => first!.slice),
    ).size;
  }
  let sum = 0;
  for (let n = 1; n <= left; n++) sum += 1 / n;
  return slices * sum;
}

export interface DepthChange {
  shard: number;
  from: number;
  to: number;
  of: number;
}

/** How deep each shard that an erasure touches would still serve. */
export function depthChanges({ shards }: Status, deactivated: readonly Deactivated[]): DepthChange[] {
  const gone = new Set(deactivated.map(({ stage }) => stage));
  const touched = new Set(deactivated.map(({ shard }) => shard));
  return shards
    .filter(({ shard }) => touched.has(shard))
    .map(({ shard, servedDepth, sequences }) => {
      const depths = sequences.map(({ stages }) => {
        const end = stages.findIndex(({ stage, active }) => !active || gone.has(stage));
        return end === -1 ? stages.length : end;
      });
      return { shard, from: servedDepth, to: Math.max(0, ...depths), of: sequences[0]?.stages.length ?? 0 };
    });
}

export function stagesOf(deactivated: readonly Deactivated[]): number {
  return new Set(deactivated.map(({ stage }) => stage)).size;
}

/** The stack that a shard serves: its slices from the top down. */
export function stackOf({ servedSequence, servedDepth, sequences }: Shard): number[] {
  return servedSequence === null ? [] : sequences[servedSequence]!.order.slice(0, servedDepth);
}

/** Lines of a text as ids, each once. */
export function listed(text: string): string[] {
  return [...new Set(text.split('\n').map((line) => line.trim()))].filter((line) => line !== '');
}
