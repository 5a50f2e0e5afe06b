import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DataError } from './errors.ts';
import { listFolder } from './files.ts';
import { readIdx } from './idx.ts';
import type { Raster } from './raster.ts';
import type { Split } from './record.ts';

const namePattern = /^(train|t10k)-.+[-.]idx(\d)-ubyte(\.gz)?$/;
const prefixes: Record<Split, string> = { train: 'train', eval: 't10k' };

/** Is it named like a file of MNIST and its relatives: `train-images-idx3-ubyte`, `t10k-labels-idx1-ubyte.gz`, ...? */
export function isIdxName(name: string): boolean {
  return namePattern.test(name);
}

/** Reads the images (`idx3`) and labels (`idx1`) of a split from a folder that holds `files`. @throws DataError */
export async function readIdxFolder(folder: string, files: readonly string[], split: Split): Promise<Raster> {
  const imageFile = findFile(folder, files, split, 3);
  const file = findFile(folder, files, split, 1);
  const images = await readIdx(imageFile, 3);
  const labels = await readIdx(file, 1);
  const [count, height, width] = images.dimensions as [number, number, number];
  if (labels.data.length !== count) {
    throw new DataError(`holds ${labels.data.length} labels, but ${imageFile} holds ${count} images`, {
      file,
    });
  }
  return { file, width, height, channels: 1, labels: labels.data, pixels: images.data };
}

function findFile(folder: string, files: readonly string[], split: Split, rank: number): string {
  const prefix = prefixes[split];
  const found = files.filter((name) => {
    const match = namePattern.exec(name);
    return match?.[1] === prefix && match[2] === String(rank);
  });
  // After `gunzip --keep` both forms lie there; they are one file.
  const [name, ...others] = found.filter(
    (name) => !(name.endsWith('.gz') && found.includes(name.slice(0, -3))),
  );
  if (name === undefined) {
    throw new DataError(`has no file ${prefix}-*-idx${rank}-ubyte[.gz] for the ${split} records`, {
      file: folder,
    });
  }
  if (others.length > 0) {
    throw new DataError(`both ${name} and ${others[0]} could hold the ${split} records`, { file: folder });
  }
  return join(folder, name);
}

/** Greyscale images of one size with their class numbers. */
export interface IdxData {
  /** Each height * width bytes, row-major. */
  images: readonly Uint8Array[];
  width: number;
  height: number;
  /** One class number, 0 to 255, per image. */
  labels: readonly number[];
}

/** The images and labels of a split in a folder of IDX files; null if it holds no file named like one. @throws DataError */
export async function readIdxData(folder: string, split: Split): Promise<IdxData | null> {
  const { files } = await listFolder(folder);
  if (!files.some(isIdxName)) return null;
  const { width, height, labels, pixels } = await readIdxFolder(folder, files, split);
  const size = width * height;
  const images = Array.from(labels, (_, i) => pixels.subarray(i * size, (i + 1) * size));
  return { images, width, height, labels: [...labels] };
}

/**
 * Writes `<prefix>-images-idx3-ubyte` and `<prefix>-labels-idx1-ubyte` into a folder, made if needed: what {@link loadRecords} reads back as
 * the same split. Prefix: `train`, or `t10k` for eval.
 * @throws RangeError if the images are not of that size, or counts or labels do not fit
 */
export async function writeIdx(folder: string, split: Split, data: IdxData): Promise<void> {
  const { images, width, height, labels } = data;
  if (images.length === 0) throw new RangeError('no images to write');
  if (images.length !== labels.length)
    throw new RangeError(`${images.length} images, ${labels.length} labels`);
  const size = width * height;
  const pixels = new Uint8Array(images.length * size);
  images.forEach((image, i) => {
    if (image.length !== size)
      throw new RangeError(`image ${i} has ${image.length} pixels, not ${width} x ${height}`);
    pixels.set(image, i * size);
  });
  labels.forEach((label, i) => {
    if (!Number.isInteger(label) || label < 0 || label > 255)
      throw new RangeError(`label ${i} is ${label}, not 0 to 255`);
  });
  await mkdir(folder, { recursive: true });
  const prefix = join(folder, prefixes[split]);
  await writeFile(`${prefix}-images-idx3-ubyte`, idxBytes([images.length, height, width], pixels));
  await writeFile(`${prefix}-labels-idx1-ubyte`, idxBytes([labels.length], Uint8Array.from(labels)));
}

function idxBytes(dimensions: readonly number[], data: Uint8Array): Uint8Array {
  const start = 4 + 4 * dimensions.length;
  const bytes = new Uint8Array(start + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x0800 + dimensions.length);
  dimensions.forEach((size, i) => {
    view.setUint32(4 + 4 * i, size);
  });
  bytes.set(data, start);
  return bytes;
}
