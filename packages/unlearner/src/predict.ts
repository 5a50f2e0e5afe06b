import { type BaseModel, type Picture, preprocess } from '@s3t/model';
import { UnlearnerError } from './errors.ts';
import type { RightOfWay } from './right-of-way.ts';
import type { Served, Serving } from './serving.ts';
import type { Input, LabelScore, Prediction } from './types.ts';

/** The logits of every served stack for a batch of pictures, and what computed them. */
export interface BatchLogits {
  served: Served;
  /** Per stack: [count, labels]. */
  logits: readonly Float32Array[];
}

/**
 * Runs pictures through what is served. When that changes meanwhile, the result is thrown away and computed again.
 * @param pixels [count, channels, height, width]
 * @throws UnlearnerError `unavailable` when nothing is served
 */
export async function forward(
  { serving, erasures }: { serving: Serving; erasures: RightOfWay },
  pixels: Float32Array,
  count: number,
): Promise<BatchLogits> {
  for (;;) {
    await erasures.clear();
    const { served } = serving;
    if (!served)
      throw new UnlearnerError('unavailable', 'no shard has an active stage: train or repair the run first');
    const perPicture = pixels.length / count;
    const parts: Float32Array[][] = [];
    for (let from = 0; from < count; from += served.ensemble.largestBatch) {
      await erasures.clear();
      if (serving.served !== served) break;
      const rows = Math.min(served.ensemble.largestBatch, count - from);
      const batch = pixels.subarray(from * perPicture, (from + rows) * perPicture);
      parts.push(await served.ensemble.forward(batch, rows));
    }
    // Another ensemble took its place meanwhile: one answer never mixes two, and never comes from an erased one.
    if (serving.served === served) return { served, logits: joinParts(parts) };
  }
}

function joinParts(parts: readonly Float32Array[][]): Float32Array[] {
  if (parts.length === 1) return parts[0]!;
  return parts[0]!.map((_, stack) => {
    const values = parts.map((part) => part[stack]!);
    const joined = new Float32Array(values.reduce((sum, value) => sum + value.length, 0));
    let at = 0;
    for (const value of values) {
      joined.set(value, at);
      at += value.length;
    }
    return joined;
  });
}

/** Pictures of a batch of inputs, as the base takes them. @throws UnlearnerError `usage` naming the input */
export function pixelsOf(base: BaseModel, inputs: readonly Input[]): Float32Array {
  const { channels, size } = base.preprocessing;
  const perPicture = channels * size.width * size.height;
  const pixels = new Float32Array(inputs.length * perPicture);
  inputs.forEach((input, i) => {
    preprocess(
      pictureOf(input, `inputs.${i}`),
      base.preprocessing,
      pixels.subarray(i * perPicture, (i + 1) * perPicture),
    );
  });
  return pixels;
}

/** The picture of an input, which may come from anywhere. */
function pictureOf(input: Input, path: string): Picture {
  const fail = (at: string, problem: string): never => {
    throw new UnlearnerError('usage', `${path}${at}: ${problem}`);
  };
  if (typeof input !== 'object' || input === null || !('image' in input))
    return fail('', 'this run answers images');
  const { image } = input;
  if (typeof image !== 'object' || image === null) return fail('.image', 'must be a picture');
  const { width, height, channels, pixels } = image;
  for (const [side, extent] of Object.entries({ width, height }))
    if (!Number.isSafeInteger(extent) || extent < 1)
      fail(`.image.${side}`, 'must be a whole number above zero');
  if (channels !== 1 && channels !== 3) fail('.image.channels', 'must be 1 or 3');
  if (!(pixels instanceof Uint8Array)) fail('.image.pixels', 'must be a Uint8Array');
  if (pixels.length !== width * height * channels)
    fail(
      '.image.pixels',
      `holds ${pixels.length} bytes, but ${width} x ${height} pixels of ${channels} channels have ${width * height * channels}`,
    );
  return image;
}

/** Answers a batch: the softmax of the mean over shards of their logits, best label first. */
export async function predict(
  parts: { serving: Serving; erasures: RightOfWay; base: BaseModel; labels: readonly string[] },
  inputs: readonly Input[],
): Promise<Prediction> {
  const { served, logits } = await forward(parts, pixelsOf(parts.base, inputs), inputs.length);
  const answers = inputs.map((_, row) => scoresOf(meanRow(logits, row, parts.labels.length), parts.labels));
  return { version: served.version, manifest: served.manifest, stages: served.stages, answers };
}

/** The mean over stacks of one row of logits. */
export function meanRow(logits: readonly Float32Array[], row: number, labels: number): Float64Array {
  const mean = new Float64Array(labels);
  for (const stack of logits)
    for (let i = 0; i < labels; i++) mean[i]! += stack[row * labels + i]! / logits.length;
  return mean;
}

function scoresOf(logits: Float64Array, labels: readonly string[]): LabelScore[] {
  const largest = Math.max(...logits);
  const weights = logits.map((value) => Math.exp(value - largest));
  const total = weights.reduce((sum, value) => sum + value, 0);
  return labels.map((label, i) => ({ label, score: weights[i]! / total })).sort((a, b) => b.score - a.score);
}
