import { AlgorithmError, requireInteger } from './errors.ts';
import { keyFromSeed, PhiloxStream } from './philox.ts';
import { selectSequences } from './sequences/index.ts';

/** Words of the stream that keep the uses of one seed apart; the other word is the trial. */
const DELETION_RATE = 1;
const RETENTION = 2;

export interface SimulationOptions {
  /** L: slices of a shard. */
  slices: number;
  /** B: sequences per shard. */
  budget: number;
  /** Name of a sequence strategy. */
  strategy: string;
  /** How many independent trials: from 1 to 2^32. */
  trials: number;
  /** Safe integer of at least 0. Trial i draws the same, however many trials there are. */
  seed: number;
  /** Probability that a deletion hits each slice of a shard; uniform when left out. The strategy gets it too. */
  prior?: readonly number[];
}

/**
 * The number of random record deletions until no shard has a stage left, measured: what Lemma 1 (deletionRate) expects. Every deletion
 * hits one of the shards uniformly and in it a slice (uniformly, or by `prior`), with repeats; the last one counts.
 *
 * A trial ends when all sequences of all shards have a surviving depth of 0, which is when every slice that comes first in some sequence
 * has been hit. So all a trial needs is which of those are left.
 *
 * @returns mean and sample standard deviation over the trials, in deletions
 * @throws AlgorithmError for options out of range or a first slice with prior 0 (the shard would never be exhausted); SequenceError as
 *   selectSequences does.
 */
export function simulateDeletionRate(o: SimulationOptions & { shards: number }): {
  mean: number;
  std: number;
  trials: number;
} {
  const { shards, slices, trials } = o;
  requireInteger('shards', shards, 1);
  requireInteger('trials', trials, 1, 2 ** 32);
  const key = keyFromSeed(o.seed);
  const firsts = new Set(selectSequences(o.strategy, o).map((sequence) => sequence[0]!));
  for (const slice of firsts) {
    if (o.prior?.[slice] === 0) throw new AlgorithmError(`slice ${slice} has prior 0: it is never hit`);
  }
  const cells = shards * slices;
  const open = new Uint8Array(cells);
  const draw = deletion(shards, slices, o.prior);
  // Counts are integers, so both sums are exact up to 2^53.
  let sum = 0;
  let squares = 0;
  for (let trial = 0; trial < trials; trial++) {
    for (let cell = 0; cell < cells; cell++) open[cell] = firsts.has(cell % slices) ? 1 : 0;
    const random = new PhiloxStream(key, [trial, DELETION_RATE]);
    let left = shards * firsts.size;
    let deletions = 0;
    while (left > 0) {
      const cell = draw(random);
      deletions++;
      left -= open[cell]!;
      open[cell] = 0;
    }
    sum += deletions;
    squares += deletions * deletions;
  }
  const variance = trials > 1 ? (squares - (sum * sum) / trials) / (trials - 1) : 0;
  return { mean: sum / trials, std: Math.sqrt(Math.max(0, variance)), trials };
}

/**
 * The share of trials in which a shard still serves at least `depth` slices after `deletions` deletions that hit it, measured: what
 * Lemma 2 (retention) expects of independent sequences.
 *
 * @returns the probability and its standard error
 * @throws AlgorithmError for options out of range; SequenceError as selectSequences does.
 */
export function simulateRetention(o: SimulationOptions & { depth: number; deletions: number }): {
  probability: number;
  error: number;
  trials: number;
} {
  const { slices, trials, depth } = o;
  requireInteger('depth', depth, 0);
  requireInteger('deletions', o.deletions, 0);
  requireInteger('trials', trials, 1, 2 ** 32);
  const key = keyFromSeed(o.seed);
  const prefixes = selectSequences(o.strategy, o).map((sequence) => sequence.slice(0, depth));
  if (depth > slices) throw new AlgorithmError(`depth ${depth} is more than the ${slices} slices`);
  const hit = new Uint8Array(slices);
  const draw = deletion(1, slices, o.prior);
  let kept = 0;
  for (let trial = 0; trial < trials; trial++) {
    const random = new PhiloxStream(key, [trial, RETENTION]);
    hit.fill(0);
    for (let i = 0; i < o.deletions; i++) hit[draw(random)] = 1;
    if (prefixes.some((prefix) => prefix.every((slice) => hit[slice] === 0))) kept++;
  }
  const probability = kept / trials;
  return { probability, error: Math.sqrt((probability * (1 - probability)) / trials), trials };
}

/** Draws what one deletion hits, as the cell `shard * slices + slice`. */
function deletion(
  shards: number,
  slices: number,
  prior: readonly number[] | undefined,
): (random: PhiloxStream) => number {
  if (prior === undefined) {
    const cells = shards * slices;
    return (random) => random.below(cells);
  }
  // A float is below 1, so from the last slice that can be hit on, 1 is a bound that rounding cannot spoil.
  const last = prior.findLastIndex((probability) => probability > 0);
  const upTo = new Float64Array(slices).fill(1);
  let sum = 0;
  for (let slice = 0; slice < last; slice++) {
    sum += prior[slice]!;
    upTo[slice] = sum;
  }
  return (random) => {
    const shard = random.below(shards);
    const target = random.float();
    let slice = 0;
    while (upTo[slice]! <= target) slice++;
    return shard * slices + slice;
  };
}
