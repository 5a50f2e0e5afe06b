import { deletion } from './deletion.ts';
import { AlgorithmError, requireInteger } from './errors.ts';
import { keyFromSeed, PhiloxStream } from './philox.ts';
import { averageEditDistance, selectSequences, sequenceStrategies } from './sequences/index.ts';
import { type Summary, summary } from './summary.ts';

/** Words of the stream that keep the uses of one seed apart; the other word is the trial. */
const DELETION_RATE = 1;
const RETENTION = 2;
const RETRAININGS = 5;

/** Each takes two bytes, and is filled anew for every trial. */
const MOST_CELLS = 2 ** 26;

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
export function simulateDeletionRate(o: SimulationOptions & { shards: number }): Summary {
  const { shards, trials } = o;
  requireInteger('shards', shards, 1);
  requireInteger('trials', trials, 1, 2 ** 32);
  const exhaustion = collector(o);
  const key = keyFromSeed(o.seed);
  return summary(trials, (trial) => exhaustion(new PhiloxStream(key, [trial, DELETION_RATE])));
}

/**
 * How often a system without repair is retrained as a whole during `deletions` random deletions, measured: what expectedRetrainings
 * expects. Deletions are as in simulateDeletionRate; an exhausted system is whole again before the next one.
 *
 * @returns mean and sample standard deviation over the trials, in retrainings
 * @throws as simulateDeletionRate
 */
export function simulateRetrainings(o: SimulationOptions & { shards: number; deletions: number }): Summary {
  requireInteger('shards', o.shards, 1);
  requireInteger('deletions', o.deletions, 0);
  requireInteger('trials', o.trials, 1, 2 ** 32);
  const exhaustion = collector(o);
  const key = keyFromSeed(o.seed);
  return summary(o.trials, (trial) => {
    const random = new PhiloxStream(key, [trial, RETRAININGS]);
    let retrainings = 0;
    for (let spent = exhaustion(random); spent <= o.deletions; spent += exhaustion(random)) retrainings++;
    return retrainings;
  });
}

/** Makes a function that deletes at random until no shard has a stage left, and says how many deletions that took. */
function collector(o: SimulationOptions & { shards: number }): (random: PhiloxStream) => number {
  const { shards, slices } = o;
  requireInteger('the number of slices in all shards', shards * slices, 1, MOST_CELLS);
  const firsts = new Set(selectSequences(o.strategy, o).map((sequence) => sequence[0]!));
  for (const slice of firsts) {
    if (o.prior?.[slice] === 0) throw new AlgorithmError(`slice ${slice} has prior 0: it is never hit`);
  }
  const whole = Uint8Array.from({ length: shards * slices }, (_, cell) =>
    firsts.has(cell % slices) ? 1 : 0,
  );
  const open = new Uint8Array(whole.length);
  const draw = deletion(shards, slices, o.prior);
  return (random) => {
    open.set(whole);
    let left = shards * firsts.size;
    let deletions = 0;
    while (left > 0) {
      const cell = draw(random);
      deletions++;
      left -= open[cell]!;
      open[cell] = 0;
    }
    return deletions;
  };
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
  const ends = selectSequences(o.strategy, o).map((sequence) =>
    sequence.slice(0, depth).sort((a, b) => a - b),
  );
  // What survives depends on the slices of a prefix alone: many sequences, few sets.
  const prefixes = [...new Map(ends.map((prefix) => [String(prefix), prefix])).values()];
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

/**
 * The average edit distance of the sequences a strategy picks, over as many seeds as trials (from `seed` on): what Lemma 3
 * (greatestEditDistance) bounds, and randomEditDistance expects of uniformly random ones. Strategies that do not draw pick the same each
 * time.
 *
 * @returns mean and sample standard deviation over the trials, in positions
 * @throws AlgorithmError for options out of range; SequenceError as selectSequences does.
 */
export function simulateDiversity(o: SimulationOptions): Summary {
  requireInteger('trials', o.trials, 1, 2 ** 32);
  requireInteger('seed', o.seed, 0, Number.MAX_SAFE_INTEGER - o.trials);
  const distance = (trial: number): number =>
    averageEditDistance(selectSequences(o.strategy, { ...o, seed: o.seed + trial }));
  if (sequenceStrategies.get(o.strategy)?.draws !== false) return summary(o.trials, distance);
  return { mean: distance(0), std: 0, trials: o.trials };
}
