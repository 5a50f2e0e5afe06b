// Texts, end to end: pairs of them on a small RoBERTa.

import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AdapterStore } from '@s3t/ledger';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { meanSquaredError, pearson, spearman } from './metrics.ts';
import { plainAnswers } from './testing/answers.ts';
import { sharedDevice } from './testing/device.ts';
import { type ConfigChange, Project } from './testing/project.ts';
import { expectOnlyActiveFiles, expectSame, snapshotOf } from './testing/snapshot.ts';
import { type MadeText, madeText, madeTexts } from './testing/texts.ts';
import { tinyBase, writeBase } from './testing/tiny-base.ts';
import type { Input } from './types.ts';
import { Unlearner } from './unlearner.ts';

const device = sharedDevice();
let project: Project<MadeText>;

const inputOf = ({ premise, hypothesis }: MadeText): Input => ({ text: { premise, hypothesis } });

beforeAll(async () => {
  project = await Project.makeOfTexts();
  const run = await project.open('trained', { device: device() });
  await run.train();
  await run.close();
});
afterAll(() => project[Symbol.asyncDispose]());

describe('a trained run', () => {
  let run: Unlearner;
  beforeAll(async () => {
    await project.copy('trained', 'answering');
    run = await project.open('answering', { device: device() });
  });
  afterAll(() => run.close());

  test('answers as each shard computes by itself, bit for bit, whatever the length', async () => {
    const texts = [
      ...madeTexts(6, 5).map(inputOf),
      { text: { premise: '', hypothesis: '' } },
      { text: { premise: 'light', hypothesis: '' } },
      { text: { premise: 'war '.repeat(2000), hypothesis: 'men and '.repeat(2000) } },
      { text: { premise: '<s>日本語\u0000 🙂', hypothesis: '</s><pad>\ud800' } },
    ];
    const { answers } = await run.predict(texts);
    const expected = await plainAnswers(
      project,
      'answering',
      await run.status(),
      run.config,
      device(),
      texts,
    );
    expect(answers).toEqual(expected);
    for (const [i, input] of texts.entries())
      expect((await run.predict([input])).answers[0]).toEqual(answers[i]);
  });

  test('takes a pair by its fields or in their order', async () => {
    const { premise, hypothesis } = madeText(3, 5);
    const { answers } = await run.predict([
      { text: { premise, hypothesis } },
      { text: { hypothesis, premise, id: 'ignored' } },
      { text: [premise, hypothesis] },
      { text: [hypothesis, premise] },
    ]);
    expect(answers[1]).toEqual(answers[0]);
    expect(answers[2]).toEqual(answers[0]);
    expect(answers[3]).not.toEqual(answers[0]);
  });

  test('has learnt what the texts tell', async () => {
    const { accuracy, examples, shards, metric } = await run.evaluate();
    expect(metric).toBe('accuracy');
    expect(examples).toBe(40);
    // One of five is right by chance.
    expect(accuracy).toBeGreaterThan(0.6);
    for (const shard of shards) expect(shard.accuracy).toBeGreaterThan(0.4);
  });

  const wrong: [string, unknown, string][] = [
    [
      'an image',
      { image: { width: 1, height: 1, channels: 1, pixels: new Uint8Array(1) } },
      'inputs.1: this run answers texts: premise, hypothesis',
    ],
    ['nothing', null, 'inputs.1: this run answers texts'],
    [
      'one text of a pair',
      { text: 'light' },
      'inputs.1.text: has 1 texts, but this run reads 2: premise, hypothesis',
    ],
    ['three texts', { text: ['a', 'b', 'c'] }, 'inputs.1.text: has 3 texts, but this run reads 2'],
    ['a number among texts', { text: ['a', 7] }, 'inputs.1.text.1: must be a text'],
    ['a number for texts', { text: 7 }, 'inputs.1.text: must hold premise, hypothesis'],
    ['a missing field', { text: { premise: 'light' } }, 'inputs.1.text.hypothesis: must be a text'],
    [
      'an inherited field',
      { text: Object.create({ premise: 'a', hypothesis: 'b' }) },
      'inputs.1.text.premise',
    ],
  ];
  test.each(wrong)('refuses %s by its field', async (_, input, message) => {
    const inputs = [inputOf(madeText(0)), input as Input];
    await expect(run.predict(inputs)).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining(message),
    });
  });
});

describe('train on D, erase R, repair is bit for bit train on D without R', () => {
  test('with two requests that hit both shards', async () => {
    const erased = [project.idsIn(0, 0)[0]!, project.idsIn(1, 1)[0]!, project.idsIn(0, 1)[1]!];
    await project.copy('trained', 'repaired');
    await using repaired = await project.open('repaired', { device: device() });
    for (const ids of [erased.slice(0, 2), erased.slice(2)])
      expect((await repaired.erase(ids)).deactivated.length).toBeGreaterThan(0);
    await repaired.repair();
    await expectOnlyActiveFiles(project.path('repaired'), repaired);
    await project.writeTrain(project.records.filter(({ id }) => !erased.includes(id)).toReversed());
    await using clean = await project.open('clean', { device: device() });
    await clean.train();
    await project.writeTrain(project.records);
    expectSame(await snapshotOf(repaired), await snapshotOf(clean));
  });

  test('and a training that was stopped goes on to the same bytes', async () => {
    const stop = new AbortController();
    const half = await project.open('stopped', { device: device() });
    half.on(({ type }) => {
      if (type === 'stage-published') stop.abort();
    });
    await expect(half.train({ signal: stop.signal })).rejects.toThrow('aborted');
    expect((await half.status()).missing).toBe(7);
    await half.close();
    await using resumed = await project.open('stopped', { device: device() });
    expect(await resumed.train()).toMatchObject({ trained: 7 });
    await using trained = await project.open('trained', { device: device() });
    expectSame(await snapshotOf(resumed), await snapshotOf(trained));
  });
});

describe('one text a record, and a number to learn of it', () => {
  const change = {
    task: 'text-regression',
    ensemble: undefined,
    data: { text: ['premise'], labels: undefined },
    shards: 1,
    budget: 1,
    training: { epochs: 2, batchSize: 16, earlyStopping: { patience: 1 } },
  };
  let run: Unlearner;
  beforeAll(async () => {
    const config = await project.writeConfig('one.json', change);
    run = await project.open('one', { device: device(), config });
    await run.train();
  });
  afterAll(() => run.close());

  test('answers with the mean of the shards, and is measured as numbers are', async () => {
    const texts = madeTexts(40, 99).map(({ premise }) => ({ text: premise }));
    const { answers } = await run.predict(texts);
    expect(answers).toEqual(
      await plainAnswers(project, 'one', await run.status(), run.config, device(), texts),
    );
    const said = answers.map(([answer]) => answer!.score);
    const was = madeTexts(40, 99).map(({ label }) => label);
    const { pearson: correlation, ...evaluation } = await run.evaluate();
    expect(evaluation).toMatchObject({
      metric: 'pearson',
      spearman: spearman(said, was),
      meanSquaredError: meanSquaredError(said, was),
    });
    expect(evaluation).not.toHaveProperty('accuracy');
    expect(correlation).toBe(pearson(said, was));
    expect(correlation).toBeGreaterThan(0.5);
    expect(run.labels).toEqual(['value']);
  });

  test('erases, repairs and verifies to the bit', async () => {
    expect((await run.erase([project.records[3]!.id])).deactivated.length).toBeGreaterThan(0);
    await run.repair();
    expect(await run.verify({ fromScratch: true })).toMatchObject({ identical: true, compared: 2 });
  });

  test('and a training cut short in its last epoch, before that is measured or once it has stopped early goes on to the same bytes', async () => {
    const config = await project.writeConfig('cut.json', {
      ...change,
      training: { epochs: 30, batchSize: 16, learningRate: 0.1, earlyStopping: { patience: 1 } },
    });
    await using whole = await project.open('whole', { device: device(), config });
    const first: { step: number; steps: number }[] = [];
    const unhear = whole.on((event) => {
      if (event.type === 'step') first.push(event);
      if (event.type === 'stage-published') unhear();
    });
    await whole.train();
    const { step: last, steps } = first.at(-1)!;
    expect(last).toBeLessThan(steps);
    for (const at of [last - 1, last]) {
      const stop = new AbortController();
      await using cut = await project.open('cut', { device: device(), config });
      cut.on((event) => event.type === 'step' && event.step === at && stop.abort());
      await expect(cut.train({ signal: stop.signal })).rejects.toThrow('aborted');
      expect((await cut.status()).missing).toBe(2);
    }
    await using cut = await project.open('cut', { device: device(), config });
    const put = vi.spyOn(AdapterStore.prototype, 'put').mockRejectedValueOnce(new Error('no space'));
    await expect(cut.train()).rejects.toThrow('no space');
    put.mockRestore();
    await cut.train();
    expectSame(await snapshotOf(cut), await snapshotOf(whole));
  });

  test('is exported as what transformers takes for a regression', async () => {
    const { out } = await run.export({ shard: 0, merge: true, out: project.path('merged-regression') });
    const { id2label, problem_type } = JSON.parse(await readFile(join(out, 'config.json'), 'utf8'));
    expect({ id2label, problem_type }).toEqual({ id2label: { 0: 'value' }, problem_type: 'regression' });
  });

  test('is asked for by itself, by its field, or as a list of one', async () => {
    const { premise } = madeText(2, 5);
    const { answers } = await run.predict([{ text: premise }, { text: { premise } }, { text: [premise] }]);
    expect(answers[1]).toEqual(answers[0]);
    expect(answers[2]).toEqual(answers[0]);
    await expect(run.predict([{ text: [premise, ''] }])).rejects.toMatchObject({ code: 'usage' });
  });
});

describe('what a stage is', () => {
  /** The id of the first stage. */
  const firstStage = async (name: string, change: ConfigChange): Promise<string> => {
    const config = await project.writeConfig(`${name}.json`, change);
    await using run = await project.open(name, { device: device(), config });
    return (await run.status()).shards[0]!.sequences[0]!.stages[0]!.stage;
  };

  test('depends on the fields, their order and the length, however the length was written', async () => {
    const changes: [string, ConfigChange][] = [
      ['as-is', {}],
      ['order', { data: { text: ['hypothesis', 'premise'] } }],
      ['field', { data: { text: ['premise'] } }],
      ['shorter', { data: { maxLength: 11 } }],
      ['one length', { data: { buckets: [12] } }],
    ];
    const ids: string[] = [];
    for (const [name, change] of changes) ids.push(await firstStage(`stage-${name}`, change));
    expect(new Set(ids).size).toBe(changes.length);
    // The base has 20 positions for tokens.
    const written = await firstStage('stage-written', { data: { maxLength: 20 } });
    expect(await firstStage('stage-default', { data: { maxLength: undefined } })).toBe(written);
  });
});

describe('before anything is written, one line refuses', () => {
  let created = 0;
  const refused = async (change: ConfigChange, code: string, ...parts: string[]): Promise<void> => {
    const config = await project.writeConfig('bad.json', change);
    const run = project.path(`refused-${created++}`);
    const error = await Unlearner.open({ run, config, device: device() }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ name: 'UnlearnerError', code });
    const { message } = error as Error;
    expect(message).toMatch(/^[^\n]+$/);
    for (const part of parts) expect(message).toContain(part);
    expect(existsSync(run)).toBe(false);
  };

  test.each<[string, ConfigChange, string, string]>([
    ['no fields', { data: { text: undefined } }, 'data.text', 'is missing'],
    ['no field', { data: { text: [] } }, 'data.text', 'must name a field'],
    ['three fields', { data: { text: ['a', 'b', 'c'] } }, 'data.text', 'two that are read as a pair'],
    ['a field twice', { data: { text: ['premise', 'premise'] } }, 'data.text', 'twice'],
    ['a field that is none', { data: { text: 'premise' } }, 'data.text', 'must be Array'],
    ['a field of images', { data: { image: 'path' } }, 'data.image', 'text-classification'],
    ['a length of zero', { data: { maxLength: 0 } }, 'data.maxLength', 'at least 1'],
    ['more tokens than positions', { data: { maxLength: 21 } }, 'data.maxLength', '20 positions of the base'],
    [
      'a bucket that no text fills',
      { data: { buckets: [13] } },
      'data.buckets',
      '13 is more than the 12 tokens',
    ],
    ['no room for a pair', { data: { maxLength: 5, buckets: undefined } }, 'data.maxLength', 'it takes 6'],
    [
      'labels of a regression',
      { task: 'text-regression', ensemble: undefined },
      'data.labels',
      'is not for text-regression',
    ],
    [
      'a regression without a label',
      { task: 'text-regression', ensemble: undefined, data: { labels: undefined, label: undefined } },
      'data.label',
      'is missing: it names the field with the number',
    ],
    [
      'a mode of labels for numbers',
      { task: 'text-regression', ensemble: 'vote', data: { labels: undefined } },
      'ensemble',
      'vote is not for text-regression; it has mean-logits',
    ],
    [
      'pictures that vary',
      { training: { augmentation: { flip: 1 } } },
      'training.augmentation',
      'is not for text',
    ],
    [
      'a metric of another task to stop by',
      { training: { earlyStopping: { patience: 1, metric: 'perplexity' } } },
      'training.earlyStopping.metric',
      'perplexity is not for text-classification; it has accuracy, matthews, f1',
    ],
    [
      'nothing to stop by',
      { data: { eval: undefined }, training: { earlyStopping: { patience: 1 } } },
      'training.earlyStopping',
      'needs data.eval',
    ],
    ['a mode that is none', { ensemble: 'median' }, 'ensemble', 'must be one of mean-logits'],
    [
      'a metric of another task',
      { evaluation: { metric: 'pearson' } },
      'evaluation.metric',
      'pearson is not for text-classification; it has accuracy, matthews, f1',
    ],
    [
      'a metric that is none',
      { evaluation: { metric: 'bleu' } },
      'evaluation.metric',
      'must be one of accuracy',
    ],
    ['no room for a text', { data: { maxLength: 2, text: ['premise'] } }, 'data.maxLength', 'it takes 3'],
    [
      'a length for images',
      { task: 'image-classification', data: { buckets: undefined } },
      'data.maxLength',
      'not for image-classification',
    ],
    ['more slices than layers', { slices: 5 }, 'slices', 'at most 4'],
    [
      'a target of another architecture',
      { lora: { targets: ['q_proj'] } },
      'lora.targets',
      'query, key, value',
    ],
    [
      'a base that reads texts for images',
      {
        task: 'image-classification',
        data: { text: undefined, maxLength: undefined, buckets: undefined, image: 'path' },
      },
      'task',
      'image-classification takes a base that reads images, but base reads texts',
    ],
  ])('%s', async (_, change, field, problem) => {
    await refused(change, 'config', 'bad.json', `${field}: `, problem);
  });

  test('a base that reads images', async () => {
    await writeBase(project.path('vit'), tinyBase());
    const problem = 'text-classification takes a base that reads texts, but vit reads images';
    await refused({ base: 'vit' }, 'config', 'bad.json: task: ', problem);
  });

  test('records without a text', async () => {
    const rows = project.records.map((record, i) => (i === 8 ? { ...record, hypothesis: 3 } : record));
    await writeFile(project.path('numbers.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    const parts = ['numbers.jsonl', 'line 9', '"hypothesis"', 'must be a string'];
    await refused({ data: { train: 'numbers.jsonl' } }, 'data', ...parts);
    for (const label of ['0', '1']) {
      await mkdir(project.path('pictures', label), { recursive: true });
      await writeFile(project.path('pictures', label, 'a.png'), 'not looked at');
    }
    await refused({ data: { train: 'pictures' } }, 'data', 'pictures', 'has no text');
    const words = project.records.map((record, i) => (i === 8 ? { ...record, label: 'many' } : record));
    await writeFile(project.path('words.jsonl'), words.map((row) => `${JSON.stringify(row)}\n`).join(''));
    const regression = {
      task: 'text-regression',
      ensemble: undefined,
      data: { train: 'words.jsonl', labels: undefined },
    };
    await refused(regression, 'data', 'words.jsonl', 'record pair-8', 'field label', '"many" is no number');
  });
});
