// run_vit and run_fullbudget: pictures.

import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import type { MnistDigit } from '@s3t/data';
import { LaboratoryError } from './errors.ts';
import { digitsAsIdx, isThere, npmDigits, readableAsIdx } from './idx-pictures.ts';
import type { PreparedData, PrepareOptions, Recipe, Shape } from './recipe.ts';

const TRAINING = { epochs: 15, batchSize: 64, learningRate: 2e-4, weightDecay: 0, warmup: 0 };

/** With 6 slices, ViT-base has 2 layers for each, ViT-large 4. */
const SHAPE: Shape = {
  shards: 5,
  slices: 6,
  budget: 6,
  sequences: { strategy: 'cyclic' },
  lora: { rank: 16, alpha: 16, rslora: true, dropout: 0.1, targets: ['query', 'value'] },
  training: TRAINING,
};

/** All 24 orders of 4 slices. */
const FULL_BUDGET: Shape = {
  ...SHAPE,
  slices: 4,
  budget: 24,
  sequences: { strategy: 'all' },
  training: { ...TRAINING, learningRate: 2e-3, batchSize: 128 },
};

const BASE = 'google/vit-base-patch16-224-in21k';

const numbered = (count: number): string[] => Array.from({ length: count }, (_, label) => String(label));

interface Pictures {
  title: string;
  classes: number;
  /** On the hub: where the parquet files lie, and their fields. */
  hub?: { id: string; folder: string; image: string; label: string };
}

const PICTURES: Record<string, Pictures> = {
  mnist: { title: 'MNIST, or data in its format', classes: 10 },
  'fashion-mnist': { title: 'Fashion-MNIST', classes: 10 },
  cifar10: {
    title: 'CIFAR-10',
    classes: 10,
    hub: { id: 'uoft-cs/cifar10', folder: 'plain_text', image: 'img', label: 'label' },
  },
  cifar100: {
    title: 'CIFAR-100, fine labels',
    classes: 100,
    hub: { id: 'uoft-cs/cifar100', folder: 'cifar100', image: 'img', label: 'fine_label' },
  },
  tinyimagenet: {
    title: 'TinyImageNet',
    classes: 200,
    hub: { id: 'zh-plus/tiny-imagenet', folder: 'data', image: 'image', label: 'label' },
  },
};

const recipe = (experiment: 'vit' | 'full-budget', dataset: string, shape: Shape): Recipe => {
  const pictures = PICTURES[dataset]!;
  const { title, hub } = pictures;
  return {
    ...{ experiment, dataset, title, task: 'image-classification', base: BASE, hub, shape },
    prepare: (options) => prepare(dataset, pictures, options),
  };
};

export const VISION: readonly Recipe[] = [
  ...Object.keys(PICTURES).map((dataset) => recipe('vit', dataset, SHAPE)),
  // The paper's is CIFAR-100; the others are here because a full budget can be of anything.
  ...['cifar100', 'cifar10', 'mnist', 'fashion-mnist', 'tinyimagenet'].map((dataset) =>
    recipe('full-budget', dataset, FULL_BUDGET),
  ),
];

async function prepare(
  dataset: string,
  { classes, hub }: Pictures,
  options: PrepareOptions,
): Promise<PreparedData> {
  const { source, out, records, evalRecords, smoke } = options;
  const labels = numbered(classes);
  if (source === undefined) {
    if (dataset === 'mnist' || (dataset === 'fashion-mnist' && smoke)) return digitsAsIdx(options, labels);
    if (smoke) return digitsAsCifar(dataset, options);
    throw new LaboratoryError(
      'usage',
      `--data: ${dataset} does not come with S3T: give its folder${hub ? `, or ${hub.id} to fetch it from the hub` : ''}`,
    );
  }
  const idx = await readableAsIdx(source, options, labels);
  if (idx) return idx;
  if (records !== undefined || evalRecords !== undefined)
    throw new LaboratoryError(
      'usage',
      `--${records === undefined ? 'eval-records' : 'records'}: only of a folder of IDX files a part can be taken; ${source} holds none`,
    );
  const from = (path: string): string => relative(resolve(out), resolve(path)) || '.';
  if (await isThere(join(source, 'wnids.txt'))) return tinyImageNet(source, out);
  const parquet = hub && (await parquetFolder(source, hub.folder));
  if (hub && parquet) {
    const { image, label } = hub;
    return { data: { train: from(parquet), eval: from(parquet), image, label, labels } };
  }
  return { data: { train: from(source), eval: from(source), labels } };
}

async function parquetFolder(source: string, folder: string): Promise<string | null> {
  for (const path of [source, join(source, folder)])
    if ((await readdir(path).catch(() => [])).some((name) => name.endsWith('.parquet'))) return path;
  return null;
}

/** For a smoke run: digits in the format of another data set, which so is read as it is published. */
async function digitsAsCifar(dataset: string, { out, records = 96, evalRecords = 32 }: PrepareOptions) {
  const { train, evaluation } = await npmDigits(records, evalRecords);
  const folder = join(out, 'data');
  await mkdir(folder, { recursive: true });
  if (dataset === 'tinyimagenet') {
    await digitsAsTinyImageNet(folder, train, evaluation);
    return tinyImageNet(folder, out);
  }
  const isHundred = dataset === 'cifar100';
  const bytes = (some: readonly MnistDigit[]) =>
    Buffer.concat(some.map((digit) => cifarRecord(digit, isHundred)));
  await writeFile(join(folder, isHundred ? 'train.bin' : 'data_batch_1.bin'), bytes(train));
  await writeFile(join(folder, isHundred ? 'test.bin' : 'test_batch.bin'), bytes(evaluation));
  return { data: { train: 'data', eval: 'data', labels: numbered(isHundred ? 100 : 10) } };
}

/** 32 x 32 pixels in three planes, the digit in the middle. */
function cifarRecord({ pixels, label }: MnistDigit, isHundred: boolean): Uint8Array {
  const plane = new Uint8Array(32 * 32);
  for (let y = 0; y < 28; y++) plane.set(pixels.subarray(y * 28, (y + 1) * 28), (y + 2) * 32 + 2);
  return Buffer.concat([Uint8Array.from(isHundred ? [0, label] : [label]), plane, plane, plane]);
}

async function digitsAsTinyImageNet(
  folder: string,
  train: readonly MnistDigit[],
  evaluation: readonly MnistDigit[],
): Promise<void> {
  const { default: sharp } = await import('sharp');
  const wnid = (label: number): string => `n${String(label).padStart(8, '0')}`;
  const write = async (path: string, { pixels }: MnistDigit): Promise<void> => {
    const jpeg = sharp(pixels, { raw: { width: 28, height: 28, channels: 1 } })
      .resize(64, 64)
      .jpeg();
    await writeFile(path, await jpeg.toBuffer());
  };
  for (let label = 0; label < 10; label++)
    await mkdir(join(folder, 'train', wnid(label), 'images'), { recursive: true });
  await mkdir(join(folder, 'val', 'images'), { recursive: true });
  for (const [i, digit] of train.entries())
    await write(join(folder, 'train', wnid(digit.label), 'images', `${wnid(digit.label)}_${i}.JPEG`), digit);
  const rows: string[] = [];
  for (const [i, digit] of evaluation.entries()) {
    await write(join(folder, 'val', 'images', `val_${i}.JPEG`), digit);
    rows.push(`val_${i}.JPEG\t${wnid(digit.label)}\t0\t0\t63\t63\n`);
  }
  await writeFile(join(folder, 'val', 'val_annotations.txt'), rows.join(''));
  await writeFile(
    join(folder, 'wnids.txt'),
    numbered(10)
      .map((label) => `${wnid(Number(label))}\n`)
      .join(''),
  );
}

/**
 * TinyImageNet as it is published: train/<class>/images/*.JPEG, and val/images with the classes in val_annotations.txt. Tables are written
 * that name the pictures where they lie; the classes are those of wnids.txt, in its order.
 */
async function tinyImageNet(source: string, out: string): Promise<PreparedData> {
  const labels = linesOf(await readFile(join(source, 'wnids.txt'), 'utf8'));
  const folder = join(out, 'data');
  await mkdir(folder, { recursive: true });
  const path = (...parts: string[]): string => relative(resolve(folder), resolve(source, ...parts));
  const train = [];
  for (const label of labels)
    for (const name of (await readdir(join(source, 'train', label, 'images'))).sort())
      if (name.endsWith('.JPEG')) train.push({ id: name, path: path('train', label, 'images', name), label });
  const annotations = await readFile(join(source, 'val', 'val_annotations.txt'), 'utf8');
  const evaluation = linesOf(annotations).map((line) => {
    const [name, label] = line.split('\t') as [string, string];
    return { id: name, path: path('val', 'images', name), label };
  });
  await writeFile(join(folder, 'train.jsonl'), asLines(train));
  await writeFile(join(folder, 'eval.jsonl'), asLines(evaluation));
  const fields = { id: 'id', label: 'label', image: 'path', labels };
  return { data: { train: 'data/train.jsonl', eval: 'data/eval.jsonl', ...fields } };
}

const linesOf = (text: string): string[] => text.split(/\r?\n/).filter((line) => line !== '');

/** JSON Lines. */
export const asLines = (rows: readonly object[]): string =>
  rows.map((row) => `${JSON.stringify(row)}\n`).join('');
