// Which token comes next: pure functions of logits and of a number drawn in advance.

import { philox, type RandomKey } from '@s3t/engine';
import { ModelError } from '../errors.ts';

/** How a token is chosen; names and meanings as in `transformers`, applied in the order in which they stand here. */
export interface SamplingOptions {
  /** Divides the positive logits of tokens that were there already, and multiplies the negative ones. Default 1: no change. */
  repetitionPenalty?: number;
  /** Divides all logits. Default 0: always the likeliest token. */
  temperature?: number;
  /** How many of the likeliest tokens are drawn from, and all that are as likely as the last of them. Default: all. */
  topK?: number;
  /** As few of the likeliest tokens are drawn from as have at least this probability together. Default 1: all. */
  topP?: number;
}

/** @throws ModelError naming the option that is out of its range */
export function checkSampling({ repetitionPenalty, temperature, topK, topP }: SamplingOptions): void {
  const check = (
    option: string,
    value: number | undefined,
    isGood: (value: number) => boolean,
    must: string,
  ) => {
    if (value !== undefined && !isGood(value))
      throw new ModelError(`generate: option ${option} must be ${must}, not ${JSON.stringify(value)}`);
  };
  const isPositive = (value: number) => Number.isFinite(value) && value > 0;
  check('repetitionPenalty', repetitionPenalty, isPositive, 'a positive number');
  check('temperature', temperature, (value) => value === 0 || isPositive(value), 'zero or a positive number');
  check('topK', topK, (value) => Number.isInteger(value) && value > 0, 'a positive whole number');
  check('topP', topP, (value) => value > 0 && value <= 1, 'above 0 and at most 1');
}

/** Tokens in the order of their numbers, and how likely each is relative to the others. */
export interface Candidates {
  ids: Uint32Array;
  weights: Float64Array;
}

/**
 * The token that follows.
 * @param logits [vocabulary] @param seen the tokens that were there already @param u drawn from [0, 1)
 * @throws ModelError when a logit is not a number
 */
export function chooseToken(
  logits: Float32Array,
  seen: ReadonlySet<number>,
  options: SamplingOptions,
  u: number,
): number {
  const { repetitionPenalty = 1, temperature = 0 } = options;
  const penalised = repetitionPenalty === 1 ? logits : penalise(logits, seen, repetitionPenalty);
  return temperature === 0 ? likeliest(penalised) : draw(candidates(penalised, options), u);
}

/** Logits with those of `seen` made less likely (Keskar et al. 2019). */
export function penalise(
  logits: Float32Array,
  seen: ReadonlySet<number>,
  penalty: number,
): Float32Array<ArrayBuffer> {
  const penalised = logits.slice();
  for (const id of seen) penalised[id] = logits[id]! < 0 ? logits[id]! * penalty : logits[id]! / penalty;
  return penalised;
}

/** The first of the largest. @throws ModelError when one is not a number, or the largest not a finite one */
export function likeliest(logits: Float32Array): number {
  let best = 0;
  for (let id = 0; id < logits.length; id++) {
    if (Number.isNaN(logits[id])) throw new ModelError(`generate: the logit of token ${id} is not a number`);
    if (logits[id]! > logits[best]!) best = id;
  }
  // Nothing can be drawn relative to what overflowed.
  if (!Number.isFinite(logits[best]!))
    throw new ModelError(`generate: the logit of token ${best} is ${logits[best]}`);
  return best;
}

/** What a temperature above 0, top-k and top-p leave to draw from. @throws ModelError when a logit is not a number */
export function candidates(
  logits: Float32Array,
  { temperature = 1, topK = logits.length, topP = 1 }: SamplingOptions,
): Candidates {
  const largest = logits[likeliest(logits)]!;
  const least = topK < logits.length ? logits.toSorted()[logits.length - topK]! : Number.NEGATIVE_INFINITY;
  const ids = Uint32Array.from(logits.keys()).filter((id) => logits[id]! >= least);
  const weights = Float64Array.from(ids, (id) => Math.exp((logits[id]! - largest) / temperature));
  return topP < 1 ? nucleus({ ids, weights }, topP) : { ids, weights };
}

/** The fewest of the likeliest that have the share `topP` of all together (Holtzman et al. 2020): one at least. */
function nucleus({ ids, weights }: Candidates, topP: number): Candidates {
  const wanted = topP * sum(weights);
  // Sorting a vocabulary takes long. Those below this weight have less than what may be left out, even all of them together.
  const least = ((1 - topP) * sum(weights)) / (2 * weights.length);
  const order = Uint32Array.from(weights.keys())
    .filter((i) => weights[i]! >= least)
    .sort((a, b) => weights[b]! - weights[a]! || a - b);
  let [count, together] = [0, 0];
  while (count < order.length && together < wanted) together += weights[order[count++]!]!;
  const kept = order.slice(0, count).sort();
  return { ids: kept.map((i) => ids[i]!), weights: Float64Array.from(kept, (i) => weights[i]!) };
}

/** The candidate at the share `u` of the sum of all weights. */
export function draw({ ids, weights }: Candidates, u: number): number {
  let left = u * sum(weights);
  for (let i = 0; i < ids.length - 1; i++) {
    left -= weights[i]!;
    if (left < 0) return ids[i]!;
  }
  return ids.at(-1)!;
}

function sum(values: Float64Array): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Which use of randomness this is: the last word of the counter. */
const GENERATION = 4;

/** The number in [0, 1) that the token at `position` is drawn with: 53 bits, the same for a seed wherever it is computed. */
export function drawnAt(position: number, seed: number): number {
  const key: RandomKey = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
  const [low, high] = philox([position, 0, 0, GENERATION], key);
  return ((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53;
}
