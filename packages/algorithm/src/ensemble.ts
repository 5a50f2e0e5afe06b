import { digestOf } from './canonical.ts';
import { AlgorithmError, requireInteger } from './errors.ts';
import type { StagePlan } from './lineage.ts';
import type { Placement } from './partition.ts';

/** What a shard serves: the active prefix of one of its sequences. */
export interface Stack {
  shard: number;
  /** Number of the sequence it is a prefix of; null where the shard has no active stage and has left the ensemble. */
  sequence: number | null;
  /** How many stages are active: the adapter groups in service, from the top. */
  depth: number;
  /** Their ids, from position 0: `depth` of them. */
  stages: readonly string[];
}

/**
 * The best surviving prefix of every shard, in shard order (Algorithm 4): the longest over its sequences that is active from its first
 * stage on without a gap. Of equally long ones the lowest sequence number is served.
 *
 * A stage that the plan does not list counts as inactive, so a plan with stages left out can only shorten a stack.
 *
 * @param active whether the stage may be served
 * @throws AlgorithmError if a stage's shard is not below `shards` or it names a sequence that is not there.
 */
export function servedStacks(
  plan: readonly StagePlan[],
  sequences: readonly (readonly number[])[],
  shards: number,
  active: (id: string) => boolean,
): Stack[] {
  requireInteger('shards', shards, 0);
  const ids: (string | undefined)[][][] = Array.from({ length: shards }, () => sequences.map(() => []));
  for (const stage of plan) {
    for (const sequence of stage.sequences) {
      const row = ids[stage.shard]?.[sequence];
      if (row === undefined) {
        throw new AlgorithmError(
          `stage ${stage.id} belongs to sequence ${sequence} of shard ${stage.shard}, ` +
            `but there are ${sequences.length} sequences and ${shards} shards`,
        );
      }
      row[stage.position] = stage.id;
    }
  }
  return ids.map((rows, shard) => {
    let best: Stack = { shard, sequence: null, depth: 0, stages: [] };
    for (const [sequence, row] of rows.entries()) {
      const stages = activePrefix(row, active);
      if (stages.length > best.depth) best = { shard, sequence, depth: stages.length, stages };
    }
    return best;
  });
}

function activePrefix(ids: readonly (string | undefined)[], active: (id: string) => boolean): string[] {
  const prefix: string[] = [];
  for (let position = 0; position < ids.length; position++) {
    const id = ids[position];
    if (id === undefined || !active(id)) break;
    prefix.push(id);
  }
  return prefix;
}

/** Exactly what the served ensemble is made of. All digests are 64 hex digits. */
export interface Manifest {
  /** Digest of the base model. */
  base: string;
  /** Digest of the stage setting. */
  setting: string;
  /** How the answers of the stacks become one, where that is not the mean of their logits. */
  ensemble?: string;
  stacks: readonly {
    readonly shard: number;
    readonly sequence: number | null;
    /** From position 0; `weights` is the digest of the stage's bytes. */
    readonly stages: readonly { readonly id: string; readonly weights: string }[];
  }[];
}

/**
 * The digest of a manifest: SHA-256 of its canonical JSON, with the stacks in shard order. An auditor needs nothing but the manifest to
 * compute it again. Fields that are added to it are covered too.
 *
 * @throws AlgorithmError if a shard occurs twice, or for a value without canonical form.
 */
export function manifestDigest(m: Manifest): string {
  const stacks = [...m.stacks].sort((a, b) => a.shard - b.shard);
  for (const [i, stack] of stacks.entries()) {
    if (stack.shard === stacks[i - 1]?.shard)
      throw new AlgorithmError(`the manifest has shard ${stack.shard} twice`);
  }
  return digestOf({ ...m, stacks });
}

/**
 * Whether erasing records at these placements reaches a stage: one of them is in its shard and in a slice it has learnt from. Such a
 * stage must be deactivated; the stages before it that never saw the slice stay exact.
 */
export function affectedBy(
  stage: { shard: number; slices: readonly number[] },
  erased: readonly Placement[],
): boolean {
  return erased.some(({ shard, slice }) => shard === stage.shard && stage.slices.includes(slice));
}

/** How many stages of a sequence survive the erasure of records in these slices of its shard: all before the first of them. */
export function survivingDepth(sequence: readonly number[], erasedSlices: ReadonlySet<number>): number {
  const first = sequence.findIndex((slice) => erasedSlices.has(slice));
  return first < 0 ? sequence.length : first;
}
