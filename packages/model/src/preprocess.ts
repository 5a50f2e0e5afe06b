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

/** Reads a ViT preprocessor_config.json. @throws ModelError naming the field */
export function parsePreprocessing(
  config: Record<string, unknown>,
  channels: number,
  file: string,
): Preprocessing {
  const size = config.size as { width?: unknown; height?: unknown } | undefined;
  const { image_mean: mean, image_std: deviation, rescale_factor: rescale = 1 / 255 } = config;
  const isNumbers = (value: unknown): value is number[] =>
    Array.isArray(value) && value.length === channels && value.every(Number.isFinite);
  if (!Number.isInteger(size?.width) || !Number.isInteger(size?.height))
    throw new ModelError(`${file}: field size must give width and height in pixels`);
  if (!isNumbers(mean)) throw new ModelError(`${file}: field image_mean must hold ${channels} numbers`);
  if (!isNumbers(deviation) || deviation.includes(0))
    throw new ModelError(`${file}: field image_std must hold ${channels} numbers other than zero`);
  if (typeof rescale !== 'number') throw new ModelError(`${file}: field rescale_factor must be a number`);
  return { size: size as { width: number; height: number }, channels, rescale, mean, deviation };
}

/** Writes a picture, resized and normalised, into `target` as [channels, height, width]. */
export function preprocess(picture: Picture, to: Preprocessing, target: Float32Array): void {
  const { width, height } = to.size;
  const { pixels } = picture;
  const sampleAt = picture.width === width && picture.height === height ? exactSample : bilinearSample;
  for (let channel = 0; channel < to.channels; channel++) {
    const scale = to.rescale / to.deviation[channel]!;
    const shift = to.mean[channel]! / to.deviation[channel]!;
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        const value = channelOf(picture, channel, to.channels, (c) => sampleAt(picture, pixels, x, y, c, to));
        target[(channel * height + y) * width + x] = value * scale - shift;
      }
  }
}

/** One channel of a picture; colour becomes grey by the weights of ITU-R BT.601, grey serves as every colour. */
function channelOf(
  picture: Picture,
  channel: number,
  channels: number,
  sample: (channel: number) => number,
): number {
  if (picture.channels === 1) return sample(0);
  if (channels === 1) return 0.299 * sample(0) + 0.587 * sample(1) + 0.114 * sample(2);
  return sample(channel);
}

function exactSample(picture: Picture, pixels: Uint8Array, x: number, y: number, channel: number): number {
  return pixels[(y * picture.width + x) * picture.channels + channel]!;
}

/** Bilinear with half-pixel centres, without antialiasing. */
function bilinearSample(
  picture: Picture,
  pixels: Uint8Array,
  x: number,
  y: number,
  channel: number,
  { size }: Preprocessing,
): number {
  const along = (at: number, from: number, to: number): [number, number, number] => {
    const centre = Math.min(Math.max(((at + 0.5) * from) / to - 0.5, 0), from - 1);
    const low = Math.floor(centre);
    return [low, Math.min(low + 1, from - 1), centre - low];
  };
  const [x0, x1, fx] = along(x, picture.width, size.width);
  const [y0, y1, fy] = along(y, picture.height, size.height);
  const at = (px: number, py: number) => exactSample(picture, pixels, px, py, channel);
  const top = at(x0, y0) * (1 - fx) + at(x1, y0) * fx;
  return top * (1 - fy) + (at(x0, y1) * (1 - fx) + at(x1, y1) * fx) * fy;
}
