import { createHash } from 'node:crypto';
import { DataError } from './errors.ts';
import { readBytes } from './files.ts';

/** A 28 x 28 picture of MNIST and its relatives: grey values, row-major, 0 (paper) to 255 (ink), and its class. */
export interface MnistDigit {
  pixels: Uint8Array;
  label: number;
}

/** The `data` of a JSON file, which must be an array. @throws DataError */
export async function readClassFile(file: string): Promise<unknown[]> {
  let data: unknown;
  try {
    data = JSON.parse(new TextDecoder().decode(await readBytes(file))).data;
  } catch (error) {
    if (error instanceof DataError) throw error;
    throw new DataError('is not valid JSON', { file });
  }
  if (Array.isArray(data) && data.length > 0) return data;
  throw new DataError('"data" is not an array of pictures', { file });
}

/**
 * Puts pictures that are sorted by class into one order, by a hash that never changes, so that every run of consecutive ones, say the first
 * 9,000, holds each class in proportion (to within one or two). Within a class the order is a keyed shuffle.
 * @param classes the pictures of each class
 * @param name of the data set, which the order hangs on
 */
export function interleaved(classes: readonly (readonly Uint8Array[])[], name: string): MnistDigit[] {
  const placed: { at: number; digit: MnistDigit }[] = [];
  for (const [label, pictures] of classes.entries()) {
    const keys = pictures.map((pixels, index) => ({ pixels, key: keyOf(name, label, index) }));
    keys.sort((a, b) => a.key - b.key);
    keys.forEach(({ pixels, key }, rank) => {
      // Rank r of n lands somewhere in [r, r + 1) / n of the whole: shuffled, yet every class is spread evenly.
      placed.push({ at: (rank + key) / pictures.length, digit: { pixels, label } });
    });
  }
  placed.sort((a, b) => a.at - b.at);
  return placed.map(({ digit }) => digit);
}

/** A fixed number in [0, 1) for each picture. */
function keyOf(name: string, label: number, index: number): number {
  return createHash('sha256').update(`s3t-${name}/${label}/${index}`).digest().readUIntBE(0, 6) / 2 ** 48;
}
