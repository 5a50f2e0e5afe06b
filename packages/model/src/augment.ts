import { philox, type RandomKey } from '@s3t/engine';
import type { Picture } from './preprocess.ts';

/** How pictures are varied while a stage is trained. */
export interface Augmentation {
  /** Probability of a mirror image, 0 to 1. */
  flip: number;
  /** Part of the area that a cut-out keeps, at least and at most; null cuts nothing. */
  area: readonly [least: number, most: number] | null;
  /** The widest cut-out, as width over height, 1 or more; the narrowest is its inverse. */
  ratio: number;
}

/** Which draw this is. Nothing else decides it: not the batch, not the order, not what was drawn before. */
export interface Draw {
  /** Of the stage. */
  key: RandomKey;
  /** A number of the record, 32 bits, that depends on the lineage alone. */
  record: number;
  epoch: number;
}

/** The last word of the counter tells uses of a key apart: 0 dropout, 1 initial values, 2 pictures. */
const USE = 2;
const TRIES = 10;

interface Rectangle {
  left: number;
  top: number;
  width: number;
  height: number;
}

/**
 * A random cut-out of a picture at its own resolution, perhaps mirrored; `preprocess` then resizes it. As torchvision's
 * RandomResizedCrop and RandomHorizontalFlip, with one change: a ratio is uniform between 1 and its bound and inverted half of
 * the time, instead of log-uniform, because no two runtimes need agree on exp, and all do on square roots.
 */
export function augment(picture: Picture, { flip, area, ratio }: Augmentation, draw: Draw): Picture {
  const { width, height } = picture;
  const whole = { left: 0, top: 0, width, height };
  const window = area ? randomWindow(picture, area, ratio, draw) : whole;
  const [mirror] = uniforms(draw, TRIES);
  return cut(picture, window, mirror! < flip);
}

function randomWindow(
  { width, height }: Picture,
  [least, most]: readonly [number, number],
  widest: number,
  draw: Draw,
): Rectangle {
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const [size, shape, x, y] = uniforms(draw, attempt) as [number, number, number, number];
    const target = width * height * (least + (most - least) * size);
    // Twice a uniform: its whole part is a coin, the rest a uniform again.
    const side = 1 + (widest - 1) * ((2 * shape) % 1);
    const ratio = shape < 0.5 ? side : 1 / side;
    const [w, h] = [Math.round(Math.sqrt(target * ratio)), Math.round(Math.sqrt(target / ratio))];
    if (w < 1 || h < 1 || w > width || h > height) continue;
    return {
      left: Math.floor(x * (width - w + 1)),
      top: Math.floor(y * (height - h + 1)),
      width: w,
      height: h,
    };
  }
  // A picture too long for any: its centre, as wide or high as the ratio lets it be.
  const w = Math.min(width, Math.max(1, Math.round(height * widest)));
  const h = Math.min(height, Math.max(1, Math.round(width * widest)));
  return { left: Math.floor((width - w) / 2), top: Math.floor((height - h) / 2), width: w, height: h };
}

/** Four numbers in [0, 1), of 24 bits each. */
function uniforms({ key, record, epoch }: Draw, counter: number): number[] {
  return philox([counter, record, epoch, USE], key).map((word) => (word >>> 8) / 2 ** 24);
}

function cut(picture: Picture, { left, top, width, height }: Rectangle, isMirrored: boolean): Picture {
  const { channels } = picture;
  const pixels = new Uint8Array(width * height * channels);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const from = ((top + y) * picture.width + left + (isMirrored ? width - 1 - x : x)) * channels;
      const to = (y * width + x) * channels;
      for (let channel = 0; channel < channels; channel++)
        pixels[to + channel] = picture.pixels[from + channel]!;
    }
  return { width, height, channels, pixels };
}
