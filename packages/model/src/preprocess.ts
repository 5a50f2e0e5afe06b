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
  /** Of the pixels that the model takes. */
  size: { width: number; height: number };
  /** What a picture is resized to before its centre of `size` is cut out; a number is its shorter edge. Default: `size`. */
  resized?: number | { width: number; height: number };
  /** Default: bilinear. */
  filter?: Filter;
  channels: number;
  rescale: number;
  mean: readonly number[];
  deviation: readonly number[];
}

export type Filter = 'bilinear' | 'bicubic';

/** Pillow's numbers of the filters. */
const BILINEAR = 2;
const FILTERS = new Map<unknown, Filter>([
  [BILINEAR, 'bilinear'],
  [3, 'bicubic'],
]);

/** What may be done to a picture here, and what makes no difference: pictures come as colour or grey, and have no label in them. */
const STEPS = new Set([
  'do_resize',
  'do_center_crop',
  'do_rescale',
  'do_normalize',
  'do_convert_rgb',
  'do_reduce_labels',
]);

/** Reads a ViT preprocessor_config.json. @throws ModelError naming the field */
export function parsePreprocessing(
  config: Record<string, unknown>,
  channels: number,
  file: string,
): Preprocessing {
  const fail = (field: string, problem: string): never => {
    throw new ModelError(`${file}: field ${field} ${problem}`);
  };
  const { image_mean, image_std, rescale_factor = 1 / 255, resample = BILINEAR } = config;
  const isLength = (value: unknown) => Number.isInteger(value) && (value as number) > 0;
  const isNumbers = (value: unknown): value is number[] =>
    Array.isArray(value) && value.length === channels && value.every(Number.isFinite);
  const isSize = (value: unknown): value is Size =>
    isLength((value as Size | undefined)?.width) && isLength((value as Size | undefined)?.height);
  const filter = FILTERS.get(resample);
  if (!filter)
    fail('resample', `is ${JSON.stringify(resample)}; only 2 (bilinear) and 3 (bicubic) are known`);
  if (config.do_resize === false) fail('do_resize', 'must not be false: pictures come in any size');
  if (config.crop_pct !== undefined && config.crop_pct !== null)
    fail('crop_pct', 'is not known; size and crop_size say the same');
  for (const [field, value] of Object.entries(config))
    if (value === true && (field === 'rescale_offset' || (/^do_/.test(field) && !STEPS.has(field))))
      fail(field, 'is true; that step is not known');
  const { size, crop_size } = config;
  const cropped = typeof crop_size === 'number' ? { width: crop_size, height: crop_size } : crop_size;
  const isCropped = config.do_center_crop === true;
  const edge = isCropped ? (size as { shortest_edge?: unknown } | undefined)?.shortest_edge : undefined;
  if (!isSize(size) && !isLength(edge))
    fail('size', `must give width and height${isCropped ? ', or shortest_edge,' : ''} in pixels`);
  const resized = isSize(size) ? { width: size.width, height: size.height } : (edge as number);
  if (isCropped) {
    if (!isSize(cropped)) return fail('crop_size', 'must give width and height in pixels');
    const [width, height] =
      typeof resized === 'number' ? [resized, resized] : [resized.width, resized.height];
    if (cropped.width > width || cropped.height > height)
      fail('crop_size', 'must not be larger than what pictures are resized to');
  }
  const rescale = config.do_rescale === false ? 1 : rescale_factor;
  if (!Number.isFinite(rescale)) fail('rescale_factor', 'must be a number');
  const plain = config.do_normalize === false;
  const mean = plain ? new Array<number>(channels).fill(0) : image_mean;
  const deviation = plain ? new Array<number>(channels).fill(1) : image_std;
  if (!isNumbers(mean)) fail('image_mean', `must hold ${channels} numbers`);
  if (!isNumbers(deviation) || deviation.includes(0))
    fail('image_std', `must hold ${channels} numbers other than zero`);
  const { width, height } = (isCropped ? cropped : size) as Size;
  return {
    size: { width, height },
    ...(isCropped ? { resized } : {}),
    ...(filter === 'bicubic' ? { filter } : {}),
    channels,
    rescale,
    mean,
    deviation,
  } as Preprocessing;
}

/**
 * Writes a picture, resized and normalised, into `target` as [channels, height, width]. Colour becomes grey by the weights of
 * ITU-R BT.601, grey serves as every colour. Resizing is Pillow's bilinear or bicubic filter, as `transformers` uses it,
 * without its rounding to whole levels.
 */
export function preprocess(picture: Picture, to: Preprocessing, target: Float32Array): void {
  const { size, channels, filter = 'bilinear' } = to;
  const whole = resizedSize(picture, to);
  const planes = planesOf(picture, channels).map((plane) => resize(plane, picture, whole, size, filter));
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

/** A shorter edge decides the longer one, which is rounded down. */
function resizedSize({ width, height }: Size, { size, resized = size }: Preprocessing): Size {
  if (typeof resized !== 'number') return resized;
  const longer = Math.floor((resized * Math.max(width, height)) / Math.min(width, height));
  return width <= height ? { width: resized, height: longer } : { width: longer, height: resized };
}

/**
 * The centre, of `size`, of a plane resized to `whole`: first along x, then along y. Of an odd margin the smaller half lies left and above.
 * Nothing else is computed: of a line of pixels whose shorter edge is enlarged the whole would fill memory.
 */
function resize(plane: Float64Array, from: Size, whole: Size, size: Size, filter: Filter): Float64Array {
  // A cubic goes beyond the levels that it passes through.
  const level = (value: number) => (filter === 'bicubic' ? Math.min(255, Math.max(0, value)) : value);
  const { width, height } = size;
  const left = Math.floor((whole.width - width) / 2);
  const top = Math.floor((whole.height - height) / 2);
  const result = new Float64Array(width * height);
  if (from.width === whole.width && from.height === whole.height) {
    for (let y = 0; y < height; y++) {
      const start = (top + y) * from.width + left;
      result.set(plane.subarray(start, start + width), y * width);
    }
    return result;
  }
  const rows = Array.from({ length: height }, (_, y) => tapsOf(top + y, from.height, whole.height, filter));
  const [highest, lowest] = [rows[0]!, rows[height - 1]!];
  const used = lowest.first + lowest.weights.length - highest.first;
  const across = new Float64Array(used * width);
  for (let x = 0; x < width; x++) {
    const { first, weights } = tapsOf(left + x, from.width, whole.width, filter);
    for (let y = 0; y < used; y++) {
      const start = (highest.first + y) * from.width + first;
      across[y * width + x] = level(weights.reduce((sum, weight, i) => sum + weight * plane[start + i]!, 0));
    }
  }
  rows.forEach(({ first, weights }, y) => {
    const start = (first - highest.first) * width;
    for (let x = 0; x < width; x++)
      result[y * width + x] = level(
        weights.reduce((sum, weight, i) => sum + weight * across[start + i * width + x]!, 0),
      );
  });
  return result;
}

/** Weight of a source pixel so far from the centre, and where it ends: a triangle, or Keys' cubic (1981) with a = -1/2. */
const SHAPES: Record<Filter, { reach: number; weight: (distance: number) => number }> = {
  bilinear: { reach: 1, weight: (x) => Math.max(0, 1 - x) },
  bicubic: {
    reach: 2,
    weight: (x) => {
      if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
      return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
    },
  },
};

/**
 * What a target pixel is made of: the filter's shape around its centre, in source pixels, or in target pixels where the
 * picture shrinks (so that every source pixel counts). What lies outside is left out.
 */
function tapsOf(
  target: number,
  from: number,
  to: number,
  filter: Filter,
): { first: number; weights: number[] } {
  const shape = SHAPES[filter];
  const ratio = from / to;
  const scale = Math.max(1, ratio);
  const reach = shape.reach * scale;
  const centre = (target + 0.5) * ratio;
  const first = Math.max(0, Math.floor(centre - reach + 0.5));
  const end = Math.min(from, Math.floor(centre + reach + 0.5));
  const weights = Array.from({ length: end - first }, (_, i) =>
    shape.weight(Math.abs(first + i + 0.5 - centre) / scale),
  );
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return { first, weights: weights.map((weight) => weight / total) };
}
