/**
 * The pre-training set, rendered once and kept in `.cache/glyphs/<digest of everything it depends on>.bin`.
 *
 * File: the images (count x 784), then the labels (count), nothing else.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { classes } from './classes.ts';
import { cache } from './fonts.ts';
import { type Glyphs, renderGlyphs } from './glyphs.ts';
import { loadLibrary, sources } from './library.ts';
import { pixels } from './pen.ts';
import { mix } from './random.ts';

export interface Dataset extends Glyphs {
  /** Everything the images depend on, in 64 hex digits. */
  readonly digest: string;
}

/** Renders, or reads what was rendered before. Equal arguments and equal fonts give equal bytes. */
export function loadDataset({ count = 100_000, seed = 1 }: { count?: number; seed?: number } = {}): Dataset {
  const library = loadLibrary();
  const digest = createHash('sha256')
    .update(JSON.stringify({ count, seed, classes, library: library.digest }))
    .update(sources('deform.ts', 'glyphs.ts', 'handwriting.ts', 'pen.ts', 'random.ts', 'strokes.ts'))
    .digest('hex');
  const path = join(cache, 'glyphs', `${digest.slice(0, 16)}.bin`);
  if (existsSync(path)) {
    const bytes = new Uint8Array(readFileSync(path));
    if (bytes.length === count * (pixels + 1)) {
      return {
        images: bytes.subarray(0, count * pixels),
        labels: bytes.subarray(count * pixels),
        classes,
        digest,
      };
    }
  }
  const { images, labels } = renderGlyphs({ count, seed, library });
  mkdirSync(join(cache, 'glyphs'), { recursive: true });
  writeFileSync(`${path}.${process.pid}`, Buffer.concat([images, labels]));
  renameSync(`${path}.${process.pid}`, path);
  return { images, labels, classes, digest };
}

/** Positions of the records to train on and to hold out; record i's side depends on i and the seed only. */
export function split(count: number, share = 0.05, seed = 1): { train: Uint32Array; heldOut: Uint32Array } {
  const all = Uint32Array.from({ length: count }, (_, i) => i);
  const out = (i: number) => mix(mix(i + 1) ^ mix(seed)) < share * 2 ** 32;
  return { train: all.filter((i) => !out(i)), heldOut: all.filter(out) };
}
