import { AlgorithmError, requireInteger, requireNumber } from './errors.ts';
import { keyFromSeed, PhiloxStream } from './philox.ts';

// Membership inference by likelihood (LiRA, offline; Carlini, Chien, Nasr, Song, Terzis, Tramer 2022, "Membership Inference Attacks From
// First Principles", IEEE S&P, https://arxiv.org/abs/2112.03570). Was a record in what a model learnt from? Shadow models that did not learn
// from it say how sure of it such a model is; a model under attack that is surer than they are probably did.

/** The word that keeps this use of a seed apart from others. */
const BOOTSTRAP = 7;

/**
 * How sure a model is of a label: log(p / (1 - p)) with p its softmax probability, computed from logits without rounding p to 1
 * (section IV-C). It is about normally distributed over models.
 */
export function logitConfidence(logits: ArrayLike<number>, label: number): number {
  requireInteger('label', label, 0, logits.length - 1);
  let largest = -Infinity;
  for (let i = 0; i < logits.length; i++) if (i !== label) largest = Math.max(largest, logits[i]!);
  let rest = 0;
  for (let i = 0; i < logits.length; i++) if (i !== label) rest += Math.exp(logits[i]! - largest);
  return logits[label]! - largest - Math.log(rest);
}

/** One question: had the model under attack learnt from this record? Confidences as `logitConfidence` gives them. */
export interface MembershipTrial {
  /** Of the model under attack. */
  observed: number;
  /** Of shadow models that did not learn from the record: at least one. */
  outside: readonly number[];
  /** Whose record it is: trials of one group are drawn together by the bootstrap. */
  group: number;
  /** The answer that is held against the attack's. */
  isMember: boolean;
}

/**
 * The attack's scores, larger for likelier members: how many standard deviations the observed confidence lies above the mean of the shadow
 * models, which orders trials as their one-sided test does (section V). One variance is shared by all trials, as advised there where shadow
 * models are few; the mean's own uncertainty is counted in.
 * @throws AlgorithmError for no trials, one without shadow models, numbers that are not finite, or no trial with two shadow models
 */
export function lira(trials: readonly Pick<MembershipTrial, 'observed' | 'outside'>[]): Float64Array {
  let [squares, freedom] = [0, 0];
  for (const { observed, outside } of trials) {
    if (outside.length === 0)
      throw new AlgorithmError('a trial needs shadow models that did not learn from the record');
    for (const value of [observed, ...outside]) requireNumber('confidence', value, -Number.MAX_VALUE);
    const middle = mean(outside);
    for (const value of outside) squares += (value - middle) ** 2;
    freedom += outside.length - 1;
  }
  if (freedom === 0) throw new AlgorithmError('no trial has two shadow models: there is no spread to go by');
  // Where all shadow models agree to the last bit, any difference at all tells.
  const variance = Math.max(squares / freedom, Number.MIN_VALUE);
  return Float64Array.from(
    trials,
    ({ observed, outside }) => (observed - mean(outside)) / Math.sqrt(variance * (1 + 1 / outside.length)),
  );
}

/** A share with its 95 % interval. */
export interface Estimate {
  value: number;
  low: number;
  high: number;
}

export interface MembershipReport {
  members: number;
  others: number;
  /** Area under the ROC curve: 0.5 tells nothing, 1 everything. */
  auc: Estimate;
  /** Share of members found where `fpr` of the others are taken for members. */
  tpr: Estimate;
  fpr: number;
  /** The ROC curve: false positives, true positives, from (0, 0) to (1, 1). */
  curve: [number, number][];
}

/**
 * How well scores tell members from others. Intervals are percentiles of a bootstrap over groups (Efron 1979): trials of one record are not
 * independent.
 * @throws AlgorithmError when members or others are missing, a score is no number, or an option is out of range
 */
export function membershipReport(
  trials: readonly Pick<MembershipTrial, 'group' | 'isMember'>[],
  scores: ArrayLike<number>,
  { fpr = 0.01, resamples = 1000, seed = 1 }: { fpr?: number; resamples?: number; seed?: number } = {},
): MembershipReport {
  requireNumber('fpr', fpr, 0, 1);
  requireInteger('resamples', resamples, 1, 2 ** 20);
  // Equal to nothing, not even to itself, NaN has no rank.
  for (const [i] of trials.entries())
    if (!(scores[i]! >= -Infinity))
      throw new AlgorithmError(`scores[${i}] must be a number, got ${scores[i]}`);
  const groups = new Map<number, number[]>();
  trials.forEach(({ group }, i) => {
    const own = groups.get(group);
    if (own) own.push(i);
    else groups.set(group, [i]);
  });
  // Sorted once: a resample only changes how often each trial counts.
  const order = Array.from(trials.keys()).sort((a, b) => scores[b]! - scores[a]!);
  const ranked = order.map((i) => ({ isMember: trials[i]!.isMember, score: scores[i]! }));
  const rank = new Uint32Array(trials.length);
  order.forEach((i, at) => {
    rank[i] = at;
  });
  const members = trials.filter(({ isMember }) => isMember).length;
  const others = trials.length - members;
  if (members === 0 || others === 0)
    throw new AlgorithmError(`it takes members and others; there are ${members} and ${others}`);
  const whole = roc(ranked, new Uint32Array(trials.length).fill(1), fpr);
  const ranksOf = [...groups.values()].map((own) => own.map((i) => rank[i]!));
  const random = new PhiloxStream(keyFromSeed(seed), [0, BOOTSTRAP]);
  const drawn = { auc: [] as number[], tpr: [] as number[] };
  for (let sample = 0; sample < resamples; sample++) {
    const times = new Uint32Array(trials.length);
    for (let i = 0; i < ranksOf.length; i++)
      for (const at of ranksOf[random.below(ranksOf.length)]!) times[at]!++;
    const { auc, tpr } = roc(ranked, times, fpr);
    if (Number.isNaN(auc)) continue;
    drawn.auc.push(auc);
    drawn.tpr.push(tpr);
  }
  return {
    members,
    others,
    auc: { value: whole.auc, ...interval(drawn.auc, whole.auc) },
    tpr: { value: whole.tpr, ...interval(drawn.tpr, whole.tpr) },
    fpr,
    curve: whole.curve,
  };
}

/** The ROC curve of ranked trials that count `times` each; equal scores are one step. The area is by trapezoids: ties count half. */
function roc(
  ranked: readonly { isMember: boolean; score: number }[],
  times: Uint32Array,
  fpr: number,
): { auc: number; tpr: number; curve: [number, number][] } {
  let [members, others] = [0, 0];
  ranked.forEach(({ isMember }, at) => {
    if (isMember) members += times[at]!;
    else others += times[at]!;
  });
  const curve: [number, number][] = [[0, 0]];
  let [found, wrong, area, tpr] = [0, 0, 0, 0];
  for (let at = 0; at < ranked.length; ) {
    const { score } = ranked[at]!;
    const [foundBefore, wrongBefore] = [found, wrong];
    for (; at < ranked.length && ranked[at]!.score === score; at++) {
      if (ranked[at]!.isMember) found += times[at]!;
      else wrong += times[at]!;
    }
    area += ((wrong - wrongBefore) * (found + foundBefore)) / 2;
    if (wrong <= fpr * others) tpr = found / members;
    curve.push([wrong / others, found / members]);
  }
  return { auc: area / (members * others), tpr, curve };
}

/** The middle 95 % of resampled values. */
function interval(values: number[], fallback: number): { low: number; high: number } {
  if (values.length === 0) return { low: fallback, high: fallback };
  values.sort((a, b) => a - b);
  const at = (share: number) => values[Math.round(share * (values.length - 1))]!;
  return { low: at(0.025), high: at(0.975) };
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;
