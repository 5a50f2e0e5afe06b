import { ActiveStages } from './active-stages.ts';
import { deletion } from './deletion.ts';
import { AlgorithmError, requireInteger, requireNumber, requirePositive } from './errors.ts';
import { keyFromSeed, PhiloxStream } from './philox.ts';
import { checkRepairPolicy, minutesUntilRepair, type RepairPolicy } from './repair-policy.ts';
import { checkPrior } from './sequences/select.ts';

/** The word that keeps this use of a seed apart from others. */
const REPAIR = 6;

const DAY = 86_400;

export interface RepairOptions {
  /** m: shards. */
  shards: number;
  /** Permutations of 0 .. L-1, the same for every shard. */
  sequences: readonly (readonly number[])[];
  policy: RepairPolicy;
  /** Seconds that training a stage takes, by its position: L finite numbers of at least 0. */
  stageSeconds: readonly number[];
  /** Mean number of record erasures in a day (a Poisson process). */
  erasuresPerDay: number;
  /** How long to look, from a complete system on. */
  days: number;
  /** Independent histories: from 1 to 2^32. */
  trials: number;
  /** Safe integer of at least 0. */
  seed: number;
  /** Probability that an erasure hits each slice of a shard; uniform when left out. */
  prior?: readonly number[];
  /** How many samples of the depth `depthOverTime` has. Default 48. */
  samples?: number;
  /** What to average over time beside the depth, for example the accuracy at a mean depth of the shards from 0 to L. */
  value?: (meanDepth: number) => number;
}

/** Means over all trials and, where it says so, over time. */
export interface RepairOutcome {
  /** Erasures in one history. */
  erasures: number;
  /** Depth of a shard, over time: from 0 to L. */
  meanDepth: number;
  /** Share of the time in which at least one shard serves something. */
  availability: number;
  /** Share of the time in which every shard serves all L. */
  completeness: number;
  /** `value` over time; NaN without it. */
  value: number;
  /** Share of the time in which stages are trained. 1: repair does not keep up. */
  trainingLoad: number;
  /** Stages trained in one history, those that an erasure made worthless meanwhile not counted. */
  stagesTrained: number;
  /** Repairs begun in one history. */
  repairs: number;
  /** Erasures from the end of a repair (or the start) until the next one begins, the one that triggers it counted; NaN where none began. */
  erasuresPerRepair: number;
  /** Mean depth of a shard in the middle of `samples` equal parts of the time. */
  depthOverTime: { day: number; depth: number }[];
}

/**
 * What a repair policy makes of a system, event by event: erasures arrive at random; one stage is trained at a time, in the order a run
 * trains them (first shard, first sequence, parents first), and served once it is trained. An erasure that hits what the stage in
 * training has learnt from makes it worthless: it starts again. With repair the deletion rate is no longer finite: what counts is the depth
 * that is served over time.
 *
 * Left out: an erasure leaves fewer records to train on, and that it takes a while to deactivate.
 *
 * With free training, `exhaustion` repairs after the deletions of Lemma 1, and `at-once` serves everything always.
 *
 * @throws AlgorithmError for options out of range.
 */
export function simulateRepair(o: RepairOptions): RepairOutcome {
  check(o);
  const key = keyFromSeed(o.seed);
  const totals = new Totals(o);
  for (let trial = 0; trial < o.trials; trial++) {
    history(o, new PhiloxStream(key, [trial, REPAIR]), totals);
  }
  return totals.outcome();
}

/** One history: from event to event, what is served in between. Times are seconds. */
function history(o: RepairOptions, random: PhiloxStream, totals: Totals): void {
  const end = o.days * DAY;
  totals.start();
  const stages = new ActiveStages(o.shards, o.sequences);
  const width = stages.nodes.length;
  const hit = deletion(o.shards, stages.slices, o.prior);
  const gap = DAY / o.erasuresPerDay;
  // An exponential wait; with no erasures at all, an endless one.
  const wait = (): number => (o.erasuresPerDay === 0 ? Infinity : -Math.log1p(-random.float()) * gap);
  let now = 0;
  let erasure = wait();
  /** When the policy wants a repair: asked at every erasure. */
  let due = Infinity;
  let waiting = 0;
  /** When the first of those that wait arrived. */
  let first = 0;
  let training = -1;
  let trained = Infinity;
  const begin = (): void => {
    training = stages.nextMissing();
    trained = training < 0 ? Infinity : now + o.stageSeconds[stages.nodes[training % width]!.position]!;
  };
  while (now < end) {
    const next = Math.min(erasure, due, trained, end);
    totals.pass(now, next, stages, training >= 0);
    now = next;
    if (next === end) break;
    if (next === trained) {
      stages.train(Math.floor(training / width), training % width);
      totals.stagesTrained++;
      begin();
      continue;
    }
    if (next === erasure) {
      erasure = now + wait();
      totals.erasures++;
      const cell = hit(random);
      const shard = Math.floor(cell / stages.slices);
      const slice = cell % stages.slices;
      stages.erase(shard, slice);
      if (training >= 0) {
        // It may need an earlier stage first now, or itself once more.
        const isOurs = Math.floor(training / width) === shard;
        if (isOurs && stages.nodes[training % width]!.slices.includes(slice)) begin();
        continue;
      }
      if (waiting++ === 0) first = now;
      const need = {
        pending: waiting,
        waitedMinutes: (now - first) / 60,
        exhausted: stages.exhausted === o.shards,
      };
      due = Math.min(due, now + minutesUntilRepair(o.policy, need) * 60);
    }
    if (now < due) continue;
    totals.repair(waiting);
    waiting = 0;
    due = Infinity;
    begin();
  }
}

/** Sums over time and histories. */
class Totals {
  erasures = 0;
  stagesTrained = 0;
  readonly #options: RepairOptions;
  readonly #slices: number;
  readonly #samples: Float64Array;
  readonly #value: (meanDepth: number) => number;
  /** `value` at full depth. */
  readonly #whole: number;
  // What is lost is summed, not what is left: where nothing is, the means are exact.
  #lostDepth = 0;
  #lostValue = 0;
  #down = 0;
  #incomplete = 0;
  #busy = 0;
  #repairs = 0;
  #waited = 0;
  /** The next moment to sample. */
  #next = 0;

  constructor(options: RepairOptions) {
    this.#options = options;
    this.#slices = options.stageSeconds.length;
    this.#value = options.value ?? (() => Number.NaN);
    this.#whole = this.#value(this.#slices);
    this.#samples = new Float64Array(options.samples ?? 48);
  }

  /** A history begins. */
  start(): void {
    this.#next = 0;
  }

  /** Nothing changes from `from` to `to`. */
  pass(from: number, to: number, stages: ActiveStages, isTraining: boolean): void {
    const seconds = to - from;
    const depth = stages.totalDepth / stages.shards;
    this.#lostDepth += seconds * (this.#slices - depth);
    if (stages.exhausted === stages.shards) this.#down += seconds;
    if (depth < this.#slices) this.#incomplete += seconds;
    if (isTraining) this.#busy += seconds;
    this.#lostValue += seconds * (this.#whole - this.#value(depth));
    const part = (this.#options.days * DAY) / this.#samples.length;
    for (; this.#next < this.#samples.length && (this.#next + 0.5) * part <= to; this.#next++) {
      this.#samples[this.#next]! += depth;
    }
  }

  repair(waiting: number): void {
    this.#repairs++;
    this.#waited += waiting;
  }

  outcome(): RepairOutcome {
    const { trials, days } = this.#options;
    const time = trials * days * DAY;
    return {
      erasures: this.erasures / trials,
      meanDepth: this.#slices - this.#lostDepth / time,
      availability: 1 - this.#down / time,
      completeness: 1 - this.#incomplete / time,
      value: this.#whole - this.#lostValue / time,
      trainingLoad: this.#busy / time,
      stagesTrained: this.stagesTrained / trials,
      repairs: this.#repairs / trials,
      erasuresPerRepair: this.#waited / this.#repairs,
      depthOverTime: Array.from(this.#samples, (sum, i) => ({
        day: ((i + 0.5) * days) / this.#samples.length,
        depth: sum / trials,
      })),
    };
  }
}

function check({ sequences, policy, stageSeconds, ...o }: RepairOptions): void {
  const slices = sequences[0]?.length ?? 0;
  requireNumber('erasuresPerDay', o.erasuresPerDay, 0);
  requirePositive('days', o.days);
  requireInteger('trials', o.trials, 1, 2 ** 32);
  requireInteger('samples', o.samples ?? 1, 1, 2 ** 20);
  if (stageSeconds.length !== slices) {
    throw new AlgorithmError(
      `stageSeconds must have one value per position: ${slices}, got ${stageSeconds.length}`,
    );
  }
  if (o.prior) checkPrior(o.prior, slices);
  for (const seconds of stageSeconds) requireNumber('stageSeconds', seconds, 0);
  checkRepairPolicy(policy);
}
