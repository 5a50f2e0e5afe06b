import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadRecords } from '@s3t/data';
import { readConfig } from '@s3t/unlearner';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { prepareExperiment, RECIPES } from './prepare.ts';
import { TEXT_TASKS } from './text-tasks.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3t-lab-'));
});
afterAll(() => rm(folder, { recursive: true }));

const rewritten = (name: string, row: Record<string, unknown>) =>
  TEXT_TASKS.find((task) => task.name === name)!.examples({ get: (field) => row[field] }, '[SEP]');

test('tasks of several parts become one text, the parts joined with the separator', () => {
  expect(rewritten('multirc', { paragraph: 'p', question: 'q', answer: 'a', label: 1 })).toEqual([
    { texts: ['p [SEP] q [SEP] a'], label: 1 },
  ]);
  expect(rewritten('wic', { sentence1: 'a', sentence2: 'b', word: 'w', label: false })).toEqual([
    { texts: ['a [SEP] b [SEP] w'], label: 0 },
  ]);
  const spans = { span1_text: 'Mark', span2_text: 'he' };
  for (const row of [spans, { target: spans }])
    expect(rewritten('wsc', { text: 't', label: true, ...row })).toEqual([
      { texts: ['t [SEP] he [SEP] Mark'], label: 1 },
    ]);
  const copa = { premise: 'p', question: 'cause', choice1: 'x', choice2: 'y', label: 1 };
  expect(rewritten('copa', copa)).toEqual([
    { part: 0, texts: ['p [SEP] cause [SEP] x'], label: 0 },
    { part: 1, texts: ['p [SEP] cause [SEP] y'], label: 1 },
  ]);
});

test('a label that hides, or is none, is refused', () => {
  for (const label of [-1, 2, 'perhaps', null, 0.5])
    expect(() => rewritten('sst2', { sentence: 's', label })).toThrow(/field "label": .* negative, positive/);
  expect(() => rewritten('stsb', { sentence1: 'a', sentence2: 'b', label: 'x' })).toThrow(/is no number/);
  expect(() => rewritten('sst2', { label: 1 })).toThrow(/field "sentence": must be a text/);
});

test('every text data set of the paper is there, and its smoke records are those of a run', async () => {
  const texts = RECIPES.filter(({ task }) => task !== 'image-classification');
  expect(
    texts
      .map(({ experiment }) => experiment)
      .join(' ')
      .match(/\bglue/g),
  ).toHaveLength(8);
  expect(texts.filter(({ experiment }) => experiment === 'superglue')).toHaveLength(6);
  for (const { experiment, dataset } of texts) {
    const out = join(folder, dataset);
    const file = await prepareExperiment({ experiment, dataset, out, smoke: true });
    const { config } = await readConfig(file);
    const labels = config.data.labels.length > 0 ? config.data.labels : undefined;
    for (const split of ['train', 'eval'] as const) {
      const records = await loadRecords(config.data[split]!, split, { ...config.data, labels }, out);
      expect(records.length).toBeGreaterThan(1);
      if (labels) expect(new Set(records.map(({ label }) => label)).size).toBe(labels.length);
    }
  }
});

test.each([
  ['tools/reference/roberta', '</s>'],
  ['tools/reference/bert', '[SEP]'],
])('texts are joined with the token of the base: %s', async (base, separator) => {
  const out = join(folder, `joined-${separator}`);
  const asked = { experiment: 'superglue', dataset: 'wic', out, smoke: true } as const;
  await prepareExperiment({ ...asked, changes: { base: join(import.meta.dirname, '../../..', base) } });
  const [first] = (await readFile(join(out, 'data/train.jsonl'), 'utf8')).split('\n');
  expect(JSON.parse(first!).text.split(` ${separator} `)).toHaveLength(3);
});

test('what is asked for is what is written; another size in the same folder is refused', async () => {
  const asked = { experiment: 'glue', dataset: 'cola', out: join(folder, 'own'), smoke: true } as const;
  const file = await prepareExperiment({ ...asked, changes: { rank: 4, slices: 3, epochs: undefined } });
  const { config } = await readConfig(file);
  expect(config).toMatchObject({ slices: 3, shards: 2, evaluation: { metric: 'matthews' } });
  expect([config.lora.rank, config.lora.alpha, config.training.epochs]).toEqual([4, 8, 1]);
  const files = [file, join(folder, 'own/data/train.jsonl')];
  const read = () => Promise.all(files.map((one) => readFile(one, 'utf8')));
  const before = await read();
  await expect(prepareExperiment({ ...asked, records: 1 })).rejects.toThrow(/^--out: .* other settings/);
  expect(await read()).toEqual(before);
});

test('what is not there is said', async () => {
  const out = join(folder, 'none');
  await expect(prepareExperiment({ experiment: 'glue', dataset: 'wnli', out })).rejects.toThrow(
    '--dataset: glue has no wnli; there are cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte',
  );
  await expect(prepareExperiment({ experiment: 'glue', dataset: 'rte', out })).rejects.toThrow(
    '--data: rte does not come with S3T: give its folder, or nyu-mll/glue to fetch it from the hub',
  );
  const cola = { experiment: 'glue', dataset: 'cola', out, smoke: true } as const;
  await expect(prepareExperiment({ ...cola, records: 1000 })).rejects.toThrow(
    /^--records: there are (\d+) records; the nearest valid value is \1$/,
  );
  await writeFile(join(folder, 'train.jsonl'), '{"sentence":"s","label":7}\n');
  await expect(prepareExperiment({ experiment: 'glue', dataset: 'sst2', out, data: folder })).rejects.toThrow(
    /train\.jsonl: row 0: field "label": 7 is none of negative, positive/,
  );
});
