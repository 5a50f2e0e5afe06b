import { trieOf } from './active-stages.ts';
import { AlgorithmError, requireInteger, requireNumber } from './errors.ts';
import type { RepairPolicy } from './repair-policy.ts';
import { SequenceError, selectSequences } from './sequences/index.ts';
import { type RepairOutcome, simulateRepair } from './simulate-repair.ts';
import { deletionRate, deletionRateUnderPrior } from './theory.ts';

/** The shape of a run. */
export interface Shape {
  /** m */
  shards: number;
  /** L */
  slices: number;
  /** B */
  budget: number;
  strategy: string;
}

/** What a stage costs. */
export interface StageCosts {
  /** Layers of the base model: groups of floor(layers / L). */
  layers: number;
  /** Bytes of the adapters of one layer. */
  layerBytes: number;
  /** Bytes of a head; every stage has one. */
  headBytes: number;
  /**
   * Seconds of training per record of a stage, all passes over it together, by how much of the stack the stage runs: values at evenly
   * spaced shares, the last for the whole stack; in between they are interpolated, from 0 at no layers. So one value alone
   * means: proportional to the layers run.
   */
  secondsPerRecord: readonly number[];
}

export interface PlanLimits {
  /** Bytes for all stages. */
  storageBytes: number;
  /** Seconds for the first training. */
  trainSeconds: number;
  /** The fewest records a slice should hold on average. */
  recordsPerSlice: number;
  /** The greatest share of the time in which stages may be trained. */
  trainingLoad: number;
  /** The least share of the time in which something must be served. */
  availability: number;
  /** The greatest expected loss: of accuracy where `accuracyByDepth` is given, else of the depth served, as a share of L. */
  loss: number;
}

export interface PlanOptions {
  records: number;
  erasuresPerDay: number;
  costs: StageCosts;
  limits: PlanLimits;
  /** What to choose among: every combination whose sequences there are. */
  choices: {
    shards: readonly number[];
    slices: readonly number[];
    budget: readonly number[];
    strategy: readonly string[];
    policy: readonly RepairPolicy[];
  };
  /** Probability that an erasure hits each slice; then only as many slices as it has are considered. */
  prior?: readonly number[];
  /** Accuracy of the ensemble at evenly spaced depths, from nothing served to full depth. At least 2 values. */
  accuracyByDepth?: readonly number[];
  /** As in simulateRepair. */
  days: number;
  trials: number;
  seed: number;
}

/** A shape with a repair policy, and what is to be expected of it. */
export interface Plan extends Shape {
  policy: RepairPolicy;
  /** Stages of all shards. */
  stages: number;
  storageBytes: number;
  /** Of the first training. */
  trainSeconds: number;
  /** Lemma 1 (under the prior, where there is one): erasures until nothing is served, without repair. Infinite when that cannot happen. */
  deletionRate: number;
  /** With repair. */
  expected: RepairOutcome;
  /** See {@link PlanLimits.loss}. */
  loss: number;
  /** The limits on load, availability and loss that it breaks. */
  breaks: ('trainingLoad' | 'availability' | 'loss')[];
}

/**
 * Plans for these data and limits, best first, by simulation (simulateRepair). Storage and first training rule shapes out; of the
 * others those that break no limit come first. Among these, fewer shards are better (every shard then has learnt from more records), then
 * less training. Those that break a limit follow by what they lose.
 *
 * @throws AlgorithmError for options out of range; SequenceError when no combination has sequences; PlanError when none fits records,
 *   storage and time.
 */
export function plan(o: PlanOptions): Plan[] {
  check(o);
  const shapes = shapesOf(o);
  const fitting = shapes.filter(({ needs }) => needs.every(({ value, limit }) => value <= limit));
  if (fitting.length === 0) throw nothingFits(shapes);
  const plans = fitting.flatMap((sized) => o.choices.policy.map((policy) => evaluate(o, sized, policy)));
  return plans.sort(
    (a, b) =>
      Number(a.breaks.length > 0) - Number(b.breaks.length > 0) ||
      (a.breaks.length > 0
        ? a.loss - b.loss
        : a.shards - b.shards || a.expected.trainingLoad - b.expected.trainingLoad) ||
      a.storageBytes - b.storageBytes,
  );
}

function check({ records, costs, limits, choices, prior }: PlanOptions): void {
  requireInteger('records', records, 1);
  requireInteger('layers', costs.layers, 1);
  requireNumber('layerBytes', costs.layerBytes, 0);
  requireNumber('headBytes', costs.headBytes, 0);
  if (costs.secondsPerRecord.length === 0)
    throw new AlgorithmError('secondsPerRecord needs at least 1 value');
  for (const seconds of costs.secondsPerRecord) requireNumber('secondsPerRecord', seconds, 0);
  // Infinity: no limit.
  for (const [name, limit] of Object.entries(limits))
    if (!(limit >= 0)) throw new AlgorithmError(`${name} must be a number of at least 0, got ${limit}`);
  for (const [name, some] of Object.entries(choices))
    if (some.length === 0 && !(name === 'slices' && prior))
      throw new AlgorithmError(`choices.${name} leaves nothing to choose among`);
  for (const shards of choices.shards) requireInteger('shards', shards, 1);
}

/** Seconds to train a stage, by position: (k + 1) slices of records, each as long as (k + 1) / L of the stack takes. */
export function stageSecondsOf(
  slices: number,
  recordsPerSlice: number,
  secondsPerRecord: readonly number[],
): number[] {
  return Array.from({ length: slices }, (_, position) => {
    const share = (position + 1) / slices;
    return (position + 1) * recordsPerSlice * interpolate([0, ...secondsPerRecord], share);
  });
}

/** A curve given at evenly spaced points, at a share from 0 (its first point) to 1 (its last): straight lines in between. */
export function interpolate(curve: readonly number[], share: number): number {
  const at = Math.min(Math.max(share, 0), 1) * (curve.length - 1);
  const left = Math.min(Math.floor(at), curve.length - 2);
  return curve[left]! + (at - left) * (curve[left + 1]! - curve[left]!);
}

interface SizedShape {
  shape: Shape;
  sequences: number[][];
  stages: number;
  stageSeconds: number[];
  storageBytes: number;
  trainSeconds: number;
  /** What it needs of what there is, as [limit's name, how much, how much there is]: all must fit. */
  needs: { name: string; value: number; limit: number }[];
}

function shapesOf(o: PlanOptions): SizedShape[] {
  const { choices, prior, costs } = o;
  const sized: SizedShape[] = [];
  let refusal: AlgorithmError | undefined;
  for (const slices of new Set(prior ? [prior.length] : choices.slices)) {
    if (slices > costs.layers) continue;
    for (const strategy of choices.strategy) {
      for (const budget of choices.budget) {
        try {
          const sequences = selectSequences(strategy, { slices, budget, prior, seed: o.seed });
          for (const shards of choices.shards) {
            sized.push(size(o, { shards, slices, budget, strategy }, sequences));
          }
        } catch (error) {
          if (!(error instanceof SequenceError)) throw error;
          refusal ??= error;
        }
      }
    }
  }
  if (sized.length > 0) return sized;
  throw refusal ?? new AlgorithmError(`slices must be at most the ${costs.layers} layers`);
}

function size({ records, costs, limits }: PlanOptions, shape: Shape, sequences: number[][]): SizedShape {
  const { shards, slices } = shape;
  const recordsPerSlice = records / (shards * slices);
  const stageSeconds = stageSecondsOf(slices, recordsPerSlice, costs.secondsPerRecord);
  const nodes = trieOf(sequences);
  const stages = shards * nodes.length;
  const storageBytes = stages * (Math.floor(costs.layers / slices) * costs.layerBytes + costs.headBytes);
  const trainSeconds = shards * nodes.reduce((sum, { position }) => sum + stageSeconds[position]!, 0);
  const needs = [
    { name: 'storage', value: storageBytes, limit: limits.storageBytes },
    { name: 'training time', value: trainSeconds, limit: limits.trainSeconds },
    { name: 'records', value: shards * slices * limits.recordsPerSlice, limit: records },
  ];
  return { shape, sequences, stages, stageSeconds, storageBytes, trainSeconds, needs };
}

/** Nothing fits: says what the shape that is nearest to fitting would need. */
function nothingFits(shapes: readonly SizedShape[]): PlanError {
  const excess = ({ needs }: SizedShape): number =>
    Math.max(...needs.map(({ value, limit }) => value / limit));
  const nearest = shapes.reduce((best, one) => (excess(one) < excess(best) ? one : best));
  const { shards, slices, budget } = nearest.shape;
  const missing = nearest.needs.filter(({ value, limit }) => value > limit);
  return new PlanError({ shards, slices, budget, strategy: nearest.shape.strategy }, missing);
}

/** No shape fits the limits. */
export class PlanError extends AlgorithmError {
  override name = 'PlanError';
  /** The shape nearest to fitting. */
  readonly nearest: Shape;
  /** What it needs and there is too little of: bytes of storage, seconds of training time, records. */
  readonly missing: readonly { name: string; value: number; limit: number }[];

  constructor(nearest: Shape, missing: readonly { name: string; value: number; limit: number }[]) {
    const needs = missing.map(({ name, value, limit }) => `${name} ${value} instead of ${limit}`).join(', ');
    const { shards, slices, budget } = nearest;
    super(`no plan fits; the nearest (${shards} shards, ${slices} slices, budget ${budget}) needs ${needs}`);
    this.nearest = nearest;
    this.missing = missing;
  }
}

function evaluate(o: PlanOptions, sized: SizedShape, policy: RepairPolicy): Plan {
  const { shape, sequences, stages, stageSeconds, storageBytes, trainSeconds } = sized;
  const { limits, accuracyByDepth } = o;
  const firsts = [...new Set(sequences.map(([first]) => first!))];
  const curve = accuracyByDepth ?? [0, 1];
  if (curve.length < 2) throw new AlgorithmError('accuracyByDepth needs at least 2 values');
  for (const accuracy of curve) requireNumber('accuracyByDepth', accuracy, 0, 1);
  const expected = simulateRepair({
    shards: shape.shards,
    sequences,
    policy,
    stageSeconds,
    erasuresPerDay: o.erasuresPerDay,
    days: o.days,
    trials: o.trials,
    seed: o.seed,
    prior: o.prior,
    value: (depth) => interpolate(curve, depth / shape.slices),
  });
  const loss = Math.max(0, curve.at(-1)! - expected.value);
  const breaks: Plan['breaks'] = [];
  if (expected.trainingLoad > limits.trainingLoad) breaks.push('trainingLoad');
  if (expected.availability < limits.availability) breaks.push('availability');
  if (loss > limits.loss) breaks.push('loss');
  return {
    ...shape,
    policy,
    stages,
    storageBytes,
    trainSeconds,
    deletionRate: o.prior
      ? deletionRateUnderPrior({ shards: shape.shards, prior: o.prior, firsts })
      : // Sequences that are drawn may start at one slice: together they wait for no more deletions than one of them.
        deletionRate({ ...shape, budget: firsts.length }),
    expected,
    loss,
    breaks,
  };
}
