import { factorial, fallingFactorial } from './combinatorics.ts';
import { requireInteger, requireNumber } from './errors.ts';

const EULER_MASCHERONI = 0.5772156649015329;

/**
 * The harmonic number H_n = 1 + 1/2 + ... + 1/n; H_0 = 0. `n` is an integer of at least 0, else an AlgorithmError. Beyond 2^20, where adding takes
 * long, by its expansion (Euler-Maclaurin): what is left out is below 1 / (120 n^4).
 */
export function harmonic(n: number): number {
  requireInteger('n', n, 0);
  if (n > 2 ** 20) return Math.log(n) + EULER_MASCHERONI + 1 / (2 * n) - 1 / (12 * n * n);
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
 * Lemma 1 for deletions that do not hit all slices alike: the expected number of record deletions until no shard has a stage left, when each
 * hits one of the shards uniformly and in it slice s with probability `prior[s]`.
 *
 * It is the coupon collector's time for unequal coupons (Flajolet, Gardy, Thimonier, "Birthday paradox, coupon collectors, caching
 * algorithms and self-organizing search", 1992): with deletions arriving at rate 1, the integral over time of the probability that some
 * slice that comes first in a sequence has not been hit, `1 - prod_s (1 - e^(-t p_s / m))^m`. By Simpson's rule, to nine digits. Infinite where
 * such a slice is never hit.
 *
 * @param o.firsts the different slices that come first in a sequence
 * @throws AlgorithmError unless shards is an integer of at least 1 and the first slices have probabilities.
 */
export function deletionRateUnderPrior(o: {
  shards: number;
  prior: readonly number[];
  firsts: Iterable<number>;
}): number {
  const { shards, prior } = o;
  requireInteger('shards', shards, 1);
  const rates = [...new Set(o.firsts)].map((slice) => {
    requireInteger('a first slice', slice, 0, prior.length - 1);
    requireNumber(`prior[${slice}]`, prior[slice]!, 0, 1);
    return prior[slice]! / shards;
  });
  requireInteger('the number of first slices', rates.length, 1);
  const slowest = Math.min(...rates);
  if (slowest === 0) return Infinity;
  // log1p and expm1: where nothing is left to wait for, the difference to 1 must not be rounding.
  const isOpen = (time: number): number =>
    -Math.expm1(shards * rates.reduce((sum, rate) => sum + Math.log1p(-Math.exp(-time * rate)), 0));
  // Intervals that double: the slices may be hit at very different rates.
  const end = (Math.log(shards * rates.length) + 40) / slowest;
  let sum = 0;
  let from = 0;
  for (let to = 1 / Math.max(...rates); from < end; [from, to] = [to, 2 * to])
    sum += simpson(isOpen, from, to);
  return sum;
}

/** The integral of a smooth function: Simpson's rule over 512 intervals. */
function simpson(f: (x: number) => number, from: number, to: number): number {
  const width = (to - from) / 512;
  let sum = f(from) + f(to);
  for (let i = 1; i < 512; i++) sum += f(from + i * width) * (i % 2 === 1 ? 4 : 2);
  return (sum * width) / 3;
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
 * Lemma 3: the greatest average edit distance that B sequences of L slices can have. For B <= L it is L (no slice stands twice at a
 * position), which cyclic rotation reaches for every such B, and bipartite matching at B = L. Beyond, at every position some slices stand
 * more than once, at best each floor(B/L) or ceil(B/L) times: of the B(B-1)/2 pairs, as few as possible are alike there. One sequence has no
 * pair: 0.
 *
 * @throws AlgorithmError unless both are integers of at least 1.
 */
export function greatestEditDistance(o: { slices: number; budget: number }): number {
  const { slices, budget } = o;
  requireInteger('slices', slices, 1);
  requireInteger('budget', budget, 1);
  if (budget === 1) return 0;
  const pairs = (n: number): number => (n * (n - 1)) / 2;
  const often = Math.floor(budget / slices);
  const more = budget % slices;
  const alike = more * pairs(often + 1) + (slices - more) * pairs(often);
  return slices * (1 - alike / pairs(budget));
}

/**
 * The expected edit distance of distinct orders drawn uniformly: two independent ones agree in 1 position on average, so they differ in
 * L - 1, and the one case in L! where they are the same order (distance 0) is left out: `(L - 1) / (1 - 1/L!)`. The same for every
 * budget of at least 2; where there is but one order, 0.
 *
 * @throws AlgorithmError unless slices is an integer of at least 1.
 */
export function randomEditDistance(slices: number): number {
  requireInteger('slices', slices, 1);
  return slices === 1 ? 0 : (slices - 1) / (1 - 1 / factorial(slices));
}

/**
 * How often a system without repair is expected to be retrained as a whole during `deletions` = R uniformly random record deletions:
 * the number of times that it is exhausted (Lemma 1), starting whole and being whole again at once. Exact; for many deletions it is
 * R/delta, less about half a retraining.
 *
 * The deletions until exhaustion are a coupon collector's: with j of the m B' first slices left, the next deletion hits one of them
 * with probability j / (m L). So the chain of j is followed, R times m B' steps.
 *
 * @throws AlgorithmError unless shards, slices and budget are integers of at least 1, deletions one of at least 0.
 */
export function expectedRetrainings(o: {
  shards: number;
  slices: number;
  budget: number;
  deletions: number;
}): number {
  const { shards, slices, budget, deletions } = o;
  requireInteger('shards', shards, 1);
  requireInteger('slices', slices, 1);
  requireInteger('budget', budget, 1);
  requireInteger('deletions', deletions, 0);
  const whole = shards * Math.min(budget, slices);
  const cells = shards * slices;
  // chance[j]: that j first slices are left.
  const chance = new Float64Array(whole + 1);
  chance[whole] = 1;
  let expected = 0;
  for (let deletion = 0; deletion < deletions; deletion++) {
    const exhausted = chance[1]! / cells;
    for (let left = 1; left <= whole; left++) {
      const arriving = left < whole ? (chance[left + 1]! * (left + 1)) / cells : 0;
      chance[left] = chance[left]! * (1 - left / cells) + arriving;
    }
    chance[whole]! += exhausted;
    expected += exhausted;
  }
  return expected;
}

/**
 * Expected seconds of unlearning work over R deletions without repair: full retrainings, times what one takes, plus R times what it takes
 * to deactivate (the paper's cumulative deletion time; R/delta retrainings there, exactly {@link expectedRetrainings} here).
 *
 * @throws AlgorithmError as expectedRetrainings, and for seconds that are no finite numbers of at least 0.
 */
export function deletionTime(o: {
  shards: number;
  slices: number;
  budget: number;
  deletions: number;
  retrainSeconds: number;
  deactivateSeconds: number;
}): number {
  requireNumber('retrainSeconds', o.retrainSeconds, 0);
  requireNumber('deactivateSeconds', o.deactivateSeconds, 0);
  return expectedRetrainings(o) * o.retrainSeconds + o.deletions * o.deactivateSeconds;
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
