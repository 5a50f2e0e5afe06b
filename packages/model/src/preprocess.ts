import { ModelError } from './errors.ts';

/** A decoded picture: row-major, channels side by side, 0 to 255. */
export interface Picture {
  width: number;
  height: number;
  channels: 1 | 3;
  pixels: Uint8Array;
}

/** What preprocessor_config.json says of the pixels a model takes. */
export interface Preprocessing {
  size: { width: number; height: number };
  channels: number;
  rescale: number;
  mean: readonly number[];
  deviation: readonly number[];
}

/** Pillow's number of the filter. */
const BILINEAR = 2;

/** Reads a ViT preprocessor_config.json. @throws ModelError naming the field */
export function parsePreprocessing(
  config: Record<string, unknown>,
  channels: number,
  file: string,
): Preprocessing {
  const fail = (field: string, problem: string): never => {
    throw new ModelError(`${file}: field ${field} ${problem}`);
  };
  const size = config.size as { width?: unknown; height?: unknown } | undefined;
  const { image_mean, image_std, rescale_factor = 1 / 255, resample = BILINEAR } = config;
  const isLength = (value: unknown) => Number.isInteger(value) && (value as number) > 0;
  const isNumbers = (value: unknown): value is number[] =>
    Array.isArray(value) && value.length === channels && value.every(Number.isFinite);
  if (!isLength(size?.width) || !isLength(size?.height)) fail('size', 'must give width and height in pixels');
  if (resample !== BILINEAR)
    fail('resample', `is ${JSON.stringify(resample)}; only ${BILINEAR} (bilinear) is known`);
  if (config.do_center_crop === true) fail('do_center_crop', 'must not be true: pictures are not cropped');
  const rescale = config.do_rescale === false ? 1 : rescale_factor;
  if (!Number.isFinite(rescale)) fail('rescale_factor', 'must be a number');
  const plain = config.do_normalize === false;
  const mean = plain ? new Array<number>(channels).fill(0) : image_mean;
  const deviation = plain ? new Array<number>(channels).fill(1) : image_std;
  if (!isNumbers(mean)) fail('image_mean', `must hold ${channels} numbers`);
  if (!isNumbers(deviation) || deviation.includes(0))
    fail('image_std', `must hold ${channels} numbers other than zero`);
  return { size, channels, rescale, mean, deviation } as Preprocessing;
}

/**
 * Writes a picture, resized and normalised, into `target` as [channels, height, width]. Colour becomes grey by the weights of
 * ITU-R BT.601, grey serves as every colour. Resizing is Pillow's bilinear filter, as `transformers` uses it, without its
 * rounding to whole levels.
 */
export function preprocess(picture: Picture, to: Preprocessing, target: Float32Array): void {
  const { size, channels } = to;
  const planes = planesOf(picture, channels).map((plane) => resize(plane, picture, size));
  const pixels = size.width * size.height;
  for (let channel = 0; channel < channels; channel++) {
    const plane = planes[channel % planes.length]!;
    const scale = to.rescale / to.deviation[channel]!;
    const shift = to.mean[channel]! / to.deviation[channel]!;
    for (let i = 0; i < pixels; i++) target[channel * pixels + i] = plane[i]! * scale - shift;
  }
}

/** The channels of a picture that a model needs, one array each; one alone if they are all the same. */
function planesOf({ width, height, channels, pixels }: Picture, wanted: number): Float64Array[] {
  const plane = (value: (at: number) => number) => {
    const values = new Float64Array(width * height);
    for (let i = 0; i < values.length; i++) values[i] = value(i * channels);
    return values;
  };
  if (channels === 1) return [plane((at) => pixels[at]!)];
  if (wanted > 1) return [0, 1, 2].map((channel) => plane((at) => pixels[at + channel]!));
  return [plane((at) => 0.299 * pixels[at]! + 0.587 * pixels[at + 1]! + 0.114 * pixels[at + 2]!)];
}

type Size = Preprocessing['size'];

/** First along x, then along y. */
function resize(plane: Float64Array, from: Size, to: Size): Float64Array {
  if (from.width === to.width && from.height === to.height) return plane;
  const across = new Float64Array(from.height * to.width);
  tapsAlong(from.width, to.width).forEach(({ first, weights }, x) => {
    for (let y = 0; y < from.height; y++)
      across[y * to.width + x] = weights.reduce(
        (sum, weight, i) => sum + weight * plane[y * from.width + first + i]!,
        0,
      );
  });
  const result = new Float64Array(to.height * to.width);
  tapsAlong(from.height, to.height).forEach(({ first, weights }, y) => {
    for (let x = 0; x < to.width; x++)
      result[y * to.width + x] = weights.reduce(
        (sum, weight, i) => sum + weight * across[(first + i) * to.width + x]!,
        0,
      );
  });
  return result;
}

/**
 * What each target pixel is made of: a triangle around its centre, as wide as a source pixel to either side, or as a target
 * pixel where the picture shrinks (so that every source pixel counts). What lies outside is left out.
 */
function tapsAlong(from: number, to: number): { first: number; weights: number[] }[] {
  const ratio = from / to;
  const reach = Math.max(1, ratio);
  return Array.from({ length: to }, (_, target) => {
    const centre = (target + 0.5) * ratio;
    const first = Math.max(0, Math.floor(centre - reach + 0.5));
    const end = Math.min(from, Math.floor(centre + reach + 0.5));
    const weights = Array.from({ length: end - first }, (_, i) =>
      Math.max(0, 1 - Math.abs(first + i + 0.5 - centre) / reach),
    );
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return { first, weights: weights.map((weight) => weight / total) };
  });
}
