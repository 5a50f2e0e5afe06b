import { join } from 'node:path';
import { DataError } from './errors.ts';
import { readBytes } from './files.ts';
import type { Raster } from './raster.ts';
import type { Split } from './record.ts';

// https://www.cs.toronto.edu/~kriz/cifar.html: a record is its label bytes (CIFAR-10: class; CIFAR-100: coarse class, fine class), then 32 x 32
// red values, then green, then blue.
const side = 32;
const plane = side * side;

interface Variant {
  name: string;
  labelBytes: number;
  classes: number;
  pattern: Record<Split, RegExp>;
}

const variants: readonly Variant[] = [
  {
    name: 'CIFAR-10',
    labelBytes: 1,
    classes: 10,
    pattern: { train: /^data_batch_\d+\.bin$/, eval: /^test_batch\.bin$/ },
  },
  { name: 'CIFAR-100', labelBytes: 2, classes: 100, pattern: { train: /^train\.bin$/, eval: /^test\.bin$/ } },
];

/** Is it named like a binary file of CIFAR-10 or CIFAR-100? */
export function isCifarName(name: string): boolean {
  return variants.some(({ pattern }) => pattern.train.test(name) || pattern.eval.test(name));
}

/** Reads the CIFAR-10 or CIFAR-100 (fine labels) binaries of a split, batches in order of their numbers. @throws DataError */
export async function readCifarFolder(
  folder: string,
  files: readonly string[],
  split: Split,
): Promise<Raster[]> {
  const present = variants.filter(({ pattern }) =>
    files.some((name) => pattern.train.test(name) || pattern.eval.test(name)),
  );
  const [variant, other] = present;
  if (variant === undefined || other !== undefined) {
    throw new DataError(
      other ? 'holds both CIFAR-10 and CIFAR-100 files; give each its folder' : 'holds no CIFAR files',
      {
        file: folder,
      },
    );
  }
  const names = files.filter((name) => variant.pattern[split].test(name));
  if (names.length === 0)
    throw new DataError(`has no ${variant.name} file for the ${split} records`, { file: folder });
  const number = (name: string): number => Number(/\d+/.exec(name)?.[0] ?? 0);
  names.sort((a, b) => number(a) - number(b));
  const rasters: Raster[] = [];
  for (const name of names) {
    const file = join(folder, name);
    rasters.push(parseCifar(await readBytes(file), file, variant));
  }
  return rasters;
}

/** Splits labels from pixels and interleaves the colour planes, once for all records. */
function parseCifar(bytes: Uint8Array, file: string, { name, labelBytes, classes }: Variant): Raster {
  const stride = labelBytes + 3 * plane;
  const count = Math.floor(bytes.length / stride);
  if (bytes.length === 0) throw new DataError('is empty', { file });
  if (bytes.length !== count * stride) {
    throw new DataError(
      `is truncated, or no ${name} file: ${bytes.length} bytes is no multiple of ${stride}`,
      { file },
    );
  }
  const labels = new Uint8Array(count);
  const pixels = new Uint8Array(count * 3 * plane);
  let next = 0;
  for (let i = 0; i < count; i++) {
    const start = i * stride + labelBytes;
    const label = bytes[start - 1] as number;
    if (label >= classes)
      throw new DataError(`label ${label} is not one of ${classes} classes`, { file, row: i });
    labels[i] = label;
    for (let p = start; p < start + plane; p++) {
      pixels[next++] = bytes[p] as number;
      pixels[next++] = bytes[p + plane] as number;
      pixels[next++] = bytes[p + 2 * plane] as number;
    }
  }
  return { file, width: side, height: side, channels: 3, labels, pixels };
}
