import { fallingFactorial } from './combinatorics.ts';
import { requireInteger } from './errors.ts';

/** The harmonic number H_n = 1 + 1/2 + ... + 1/n; H_0 = 0. `n` is an integer of at least 0, else an AlgorithmError. Takes n steps. */
export function harmonic(n: number): number {
  requireInteger('n', n, 0);
  let sum = 0;
  // Smallest first: the rounding errors stay smallest.
  for (let i = n; i >= 1; i--) sum += 1 / i;
  return sum;
}

/**
 * Lemma 1: the expected number of uniformly random record deletions until no shard has a stage left, `m L H_{m B'}` with
 * `B' = min(B, L)`. SISA is `budget` 1. It counts the deletion that ends it.
 *
 * Derivation: the shards are exhausted once the first slices of all sequences are hit, m B' different ones of m L in all.
 *
 * @throws AlgorithmError unless all are integers of at least 1.
 */
export function deletionRate(o: { shards: number; slices: number; budget: number }): number {
  requireInteger('shards', o.shards, 1);
  requireInteger('slices', o.slices, 1);
  requireInteger('budget', o.budget, 1);
  return o.shards * o.slices * harmonic(o.shards * Math.min(o.budget, o.slices));
}

/**
 * Lemma 2: the probability that a shard still serves at least `depth` = k slices after `deletions` = r deletions that hit this shard,
 * `1 - (1 - (1 - k/L)^r)^{B'}` with `B' = min(B, L!/(L-k)!)`. SISA is `budget` 1: `(1 - k/L)^r`, and exact.
 *
 * For more sequences it is an approximation: it lets each of the B' be hit by deletions of its own, while all of them face the same ones.
 * For cyclic sequences with B <= L <= 6 the true probability lies from 0.08 below to 0.33 above it; towards the full budget it promises
 * far too much (all 24 orders of 4 slices, k = 2, r = 3: 0.80 against 0.625). simulateRetention has no such assumption.
 *
 * @throws AlgorithmError unless slices and budget are integers of at least 1, depth one from 0 to `slices`, deletions one of at least 0.
 */
export function retention(o: { slices: number; budget: number; depth: number; deletions: number }): number {
  requireInteger('slices', o.slices, 1);
  requireInteger('budget', o.budget, 1);
  requireInteger('depth', o.depth, 0, o.slices);
  requireInteger('deletions', o.deletions, 0);
  const prefixes = Math.min(o.budget, fallingFactorial(o.slices, o.depth));
  const one = (1 - o.depth / o.slices) ** o.deletions;
  // 1 - (1 - one)^prefixes, without losing the small probabilities to rounding.
  return -Math.expm1(prefixes * Math.log1p(-one));
}

/**
 * Bytes of storage: `B m` full adapter stacks (all L groups with their heads, `stackBytes` together), and the base model once. It is an
 * upper bound: sequences that share a prefix share its stages, see countStages.
 *
 * @throws AlgorithmError unless shards and budget are integers of at least 1, the sizes integers of at least 0.
 */
export function storageBytes(o: {
  shards: number;
  budget: number;
  stackBytes: number;
  baseBytes?: number;
}): number {
  const { shards, budget, stackBytes, baseBytes = 0 } = o;
  requireInteger('shards', shards, 1);
  requireInteger('budget', budget, 1);
  requireInteger('stackBytes', stackBytes, 0);
  requireInteger('baseBytes', baseBytes, 0);
  return shards * budget * stackBytes + baseBytes;
}
