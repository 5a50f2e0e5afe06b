import { existsSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { UnlearnerErrorCode } from './errors.ts';
import { sharedDevice } from './testing/device.ts';
import { imageOf, madeRecord, madeRecords } from './testing/pictures.ts';
import { type ConfigChange, Project } from './testing/project.ts';
import { refused } from './testing/refused.ts';
import { type TinyBase, tinyBase, writeBase } from './testing/tiny-base.ts';
import { Unlearner } from './unlearner.ts';

const device = sharedDevice();
let project: Project;

beforeAll(async () => {
  project = await Project.make({ records: madeRecords(24) });
  const run = await project.open('trained', { device: device() });
  await run.train();
  await run.close();
});
afterAll(() => project[Symbol.asyncDispose]());

let created = 0;

/** Creating a run is refused, and leaves nothing behind that a second try would trip over. */
async function creationRefused(config: string, code: UnlearnerErrorCode, ...parts: string[]): Promise<void> {
  const run = project.path(`refused-${created++}`);
  await refused(Unlearner.open({ run, config, device: device() }), code, ...parts);
  expect(existsSync(run)).toBe(false);
}

describe('a configuration', () => {
  const cases: [string, ConfigChange, string, string][] = [
    ['an unknown field', { shard: 3 }, 'shard', 'did you mean shards?'],
    [
      'an unknown field of a section',
      { training: { learningrate: 1 } },
      'training.learningrate',
      'did you mean learningRate?',
    ],
    ['an unknown field like none', { lora: { quantum: 1 } }, 'lora.quantum', 'there are rank, alpha'],
    [
      'an unknown field of the sequences',
      { sequences: { strategie: 'cyclic' } },
      'sequences.strategie',
      'did you mean strategy?',
    ],
    ['a wrong type', { shards: '3' }, 'shards', 'must be number, not "3"'],
    ['a number that is not whole', { slices: 1.5 }, 'slices', 'must be a whole number'],
    ['a number too small', { budget: 0 }, 'budget', 'must be at least 1'],
    [
      'a field of a section of the wrong type',
      { training: { epochs: null } },
      'training.epochs',
      'must be number',
    ],
    ['a section of the wrong type', { training: 3 }, 'training', 'must be Object, not 3'],
    [
      'what is kept of pictures that vary',
      { training: { augmentation: { flip: 0.5 }, keep: { where: 'disk' } } },
      'training.keep',
      'nothing of them can be kept',
    ],
    [
      'a cut-out that falls',
      { training: { augmentation: { randomResizedCrop: { area: [0.9, 0.5] } } } },
      'training.augmentation.randomResizedCrop.area',
      'must rise',
    ],
    ['a rate of one', { lora: { dropout: 1 } }, 'lora.dropout', 'must be less than 1'],
    [
      'a learning rate of zero',
      { training: { learningRate: 0 } },
      'training.learningRate',
      'must be more than 0',
    ],
    [
      'an unknown schedule',
      { training: { schedule: 'step' } },
      'training.schedule',
      'must be one of constant, linear, cosine',
    ],
    [
      'activations there are not',
      { training: { activations: 'f8' } },
      'training.activations',
      'must be f32 or f16',
    ],
    ['a missing field', { shards: undefined }, 'shards', 'is missing'],
    ['a missing section', { data: undefined }, 'data', 'is missing'],
    ['a missing field of a section', { data: { train: undefined } }, 'data.train', 'is missing'],
    ['an empty path', { base: '' }, 'base', 'must not be empty'],
    ['no labels', { data: { labels: undefined } }, 'data.labels', 'is missing'],
    ['one label', { data: { labels: ['a'] } }, 'data.labels', 'at least two'],
    ['a label twice', { data: { labels: ['a', 'b', 'a'] } }, 'data.labels', 'twice'],
    ['a task there is not', { task: 'poetry' }, 'task', 'image-classification'],
    ['a store there is not', { store: 'sqlite:x' }, 'store', 'postgres://'],
    [
      'a store whose URL cuts a password in two',
      { store: 'postgres://user:pa/ss@host/db' },
      'store',
      'is no URL; write / @ : # in a password as %2F',
    ],
    ['a store at a port there is not', { store: 'postgres://host:99999/db' }, 'store', 'is no URL'],
    ['a partition by nothing', { partition: { open: { high: [0] } } }, 'partition.by', 'is missing'],
    [
      'a partition with a slice there is not',
      { partition: { by: 'risk', open: { high: [3] } } },
      'partition.open.high',
      'the nearest is 2',
    ],
    [
      'a partition with a slice twice',
      { partition: { by: 'risk', open: { high: [1, 1] } } },
      'partition.open.high',
      'twice',
    ],
    ['a policy of repair there is not', { repair: { policy: 'often' } }, 'repair.policy', 'at-once, batch'],
    ['a batch of no size', { repair: { policy: 'batch' } }, 'repair.policy', 'needs count'],
    ['a batch of none', { repair: { policy: 'batch', count: 0 } }, 'repair.count', 'at least 1'],
    [
      'a wait without a batch',
      { repair: { policy: 'at-once', minutes: 5 } },
      'repair.minutes',
      'only for batch',
    ],
    ['an unknown field of the repair', { repair: { policy: 'batch', hours: 1 } }, 'repair.hours', 'minutes'],
    ['a budget above all orders', { budget: 7 }, 'budget', 'more than the 6 orders of 3 slices'],
    ['more slices than layers', { slices: 4, shards: 1 }, 'slices', 'at most 3'],
    ['an unknown strategy', { sequences: { strategy: 'best' } }, 'sequences.strategy', 'cyclic'],
    ['an unknown target', { lora: { targets: ['query', 'mlp'] } }, 'lora.targets', 'query, key, value'],
    ['a prior of the wrong length', { sequences: { prior: [0.5, 0.5] } }, 'sequences.prior', '3 of them'],
    [
      'a prior that does not sum to one',
      { sequences: { prior: [0.5, 0.2, 0.2] } },
      'sequences.prior',
      'sum to 1',
    ],
    [
      'a prior with a negative part',
      { sequences: { prior: [1.5, -0.5, 0] } },
      'sequences.prior.0',
      'at most 1',
    ],
    ['a lookahead of zero', { sequences: { lookahead: 0 } }, 'sequences.lookahead', 'at least 1'],
    ['a seed below zero', { training: { seed: -1 } }, 'training.seed', 'at least 0'],
    ['more shards than can be', { shards: 2 ** 25 }, 'shards', '16777216'],
  ];
  test.each(cases)('with %s', async (_, change, field, problem) => {
    const config = await project.writeConfig('bad.json', change);
    await creationRefused(config, 'config', 'bad.json', `${field}:`, problem);
  });

  test('that is none', async () => {
    await creationRefused(project.path('nowhere.json'), 'config', 'nowhere.json', 'no such file');
    await creationRefused(project.folder, 'config', 'EISDIR');
    for (const [text, problem] of [
      ['{', 'not JSON'],
      ['', 'not JSON'],
      ['[]', 'base: is missing'],
      ['null', 'must be Object'],
      ['3', 'must be'],
    ] as const) {
      await writeFile(project.path('bad.json'), text);
      await creationRefused(project.path('bad.json'), 'config', 'bad.json', problem);
    }
  });
});

describe('a base', () => {
  const changed = (change: (base: TinyBase) => void) => async () => {
    const base = tinyBase();
    change(base);
    await writeBase(project.path('bad-base'), base);
  };
  const broken = (file: string, bytes: (sound: Buffer) => Buffer | string | null) => async () => {
    await changed(() => {})();
    const path = project.path('bad-base', file);
    const next = bytes(await readFile(path));
    if (next === null) await rm(path);
    else await writeFile(path, next);
  };
  const weights = 'model.safetensors';
  const cases: [string, () => Promise<void>, string[]][] = [
    [
      'that is not there',
      () => rm(project.path('bad-base'), { recursive: true, force: true }),
      ['config.json', 'no such file'],
    ],
    ['without weights', broken(weights, () => null), [weights, 'no such file']],
    [
      'without a preprocessor',
      broken('preprocessor_config.json', () => null),
      ['preprocessor_config.json', 'no such file'],
    ],
    [
      'with half of its weights',
      broken(weights, (sound) => sound.subarray(0, sound.length / 2)),
      [weights, 'past the end'],
    ],
    [
      'with more bytes than weights',
      broken(weights, (sound) => Buffer.concat([sound, Buffer.alloc(4)])),
      [weights, '4 bytes follow'],
    ],
    ['with an empty file of weights', broken(weights, () => ''), [weights, 'too short']],
    [
      'with a file of weights of another kind',
      broken(weights, () => Buffer.alloc(64, 7)),
      [weights, 'header'],
    ],
    [
      'with a configuration that is no JSON',
      broken('config.json', () => '{"model_type":'),
      ['config.json', 'not JSON'],
    ],
    [
      'of another architecture',
      changed(({ config }) => (config.model_type = 'deit')),
      ['config.json', 'model_type', '"deit"'],
    ],
    [
      'with a layer count of zero',
      changed(({ config }) => (config.num_hidden_layers = 0)),
      ['config.json', 'num_hidden_layers'],
    ],
    [
      'with heads that do not fit',
      changed(({ config }) => (config.num_attention_heads = 3)),
      ['config.json', 'hidden_size'],
    ],
    [
      'with patches that do not fit',
      changed(({ config }) => (config.patch_size = 3)),
      ['config.json', 'image_size'],
    ],
    [
      'with dropout',
      changed(({ config }) => (config.hidden_dropout_prob = 0.1)),
      ['config.json', 'hidden_dropout_prob'],
    ],
    [
      'with pixels of no size',
      changed(({ preprocessor }) => delete preprocessor.size),
      ['preprocessor_config.json', 'size'],
    ],
    [
      'with another number of means',
      changed(({ preprocessor }) => (preprocessor.image_mean = [0.5, 0.5])),
      ['preprocessor_config.json', 'image_mean'],
    ],
    [
      'with a deviation of zero',
      changed(({ preprocessor }) => (preprocessor.image_std = [0])),
      ['preprocessor_config.json', 'image_std'],
    ],
    [
      'with pixels of another size than the model takes',
      changed(({ preprocessor }) => (preprocessor.size = { width: 9, height: 8 })),
      ['preprocessor_config.json', 'size'],
    ],
    [
      'without one of its tensors',
      changed(({ tensors }) => tensors.delete('vit.encoder.layer.1.output.dense.bias')),
      [weights, 'vit.encoder.layer.1.output.dense.bias'],
    ],
    [
      'with a tensor of another shape',
      changed(({ tensors }) =>
        tensors.set('vit.layernorm.bias', { shape: [15], values: new Float32Array(15) }),
      ),
      [weights, 'vit.layernorm.bias', '[15]', '[16]'],
    ],
  ];
  test.each(cases)('%s', async (_, make, parts) => {
    await make();
    const config = await project.writeConfig('bad.json', { base: 'bad-base' });
    await creationRefused(config, 'base', 'bad.json: base: ', ...parts);
  });

  test('that is neither in a folder nor to be had of a hub', async () => {
    const config = await project.writeConfig('bad.json', { base: 'assets/vit-tiny' });
    vi.stubEnv('HF_ENDPOINT', 'http://127.0.0.1:1');
    const problem = `base: assets/vit-tiny: there is no folder ${project.path('assets/vit-tiny')}, and http://127.0.0.1:1`;
    await creationRefused(config, 'base', `${config}: ${problem}`);
    vi.unstubAllEnvs();
  });
});

describe('data', () => {
  const sound = () => madeRecords(24);
  const rows = async (name: string) =>
    (await readFile(project.path(`${name}.jsonl`), 'utf8'))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const changed = (change: (rows: Record<string, unknown>[]) => unknown) => async () => {
    await project.writeTrain(sound());
    const data = await rows('train');
    change(data);
    await writeFile(project.path('bad.jsonl'), data.map((row) => `${JSON.stringify(row)}\n`).join(''));
  };
  const cases: [string, () => Promise<void>, string[]][] = [
    ['that is not there', () => rm(project.path('bad.jsonl'), { force: true }), ['bad.jsonl']],
    ['of no records', () => writeFile(project.path('bad.jsonl'), ''), ['bad.jsonl', 'empty']],
    ['that is no JSON', () => writeFile(project.path('bad.jsonl'), 'one, two\n'), ['bad.jsonl', 'line 1']],
    [
      'with an id twice',
      changed((data) => (data[7]!.id = 'person-3')),
      ['bad.jsonl', 'line 8', '"id"', 'person-3'],
    ],
    ['without an id', changed((data) => delete data[2]!.id), ['bad.jsonl', 'line 3', '"id"', 'missing']],
    [
      'with an unknown label',
      changed((data) => (data[4]!.label = 'middle')),
      ['bad.jsonl', 'line 5', '"label"', 'middle'],
    ],
    [
      'without a label',
      changed((data) => delete data[1]!.label),
      ['bad.jsonl', 'line 2', '"label"', 'missing'],
    ],
    [
      'with a picture that is not there',
      changed((data) => (data[0]!.path = 'gone.png')),
      ['bad.jsonl', '"path"', 'gone.png'],
    ],
    [
      'with too few records for its slices',
      changed((data) => data.splice(3)),
      ['bad.jsonl', 'slice', 'would do'],
    ],
  ];
  test.each(cases)('%s', async (_, make, parts) => {
    await make();
    const config = await project.writeConfig('bad.json', { data: { train: 'bad.jsonl' } });
    await creationRefused(config, 'data', ...parts);
  });

  test('with a picture that cannot be decoded is refused by name before there is a run', async () => {
    await changed(() => {})();
    const config = await project.writeConfig('bad.json', { data: { train: 'bad.jsonl' } });
    for (const [split, id] of [
      ['train', 'person-5'],
      ['eval', 'person-3'],
    ] as const) {
      const file = project.path(split, `${id}.png`);
      const picture = await readFile(file);
      await writeFile(file, picture.subarray(0, picture.length - 30));
      await creationRefused(
        config,
        'data',
        `${split === 'train' ? 'bad' : 'eval'}.jsonl: record ${id}: ${file}`,
        'decoded',
      );
      await writeFile(file, picture);
    }
  });

  test('to measure with is looked at before there is a run', async () => {
    const text = await readFile(project.path('eval.jsonl'), 'utf8');
    const config = await project.writeConfig('bad.json', { data: { eval: 'bad-eval.jsonl' } });
    await creationRefused(config, 'data', 'bad.json: data.eval: ', 'bad-eval.jsonl', 'does not exist');
    await writeFile(project.path('bad-eval.jsonl'), text.replace('"label":"top"', '"label":"middle"'));
    await creationRefused(config, 'data', 'bad-eval.jsonl', 'line 1', '"label"', 'middle');
  });

  test('of which a check tells how far it is', async () => {
    const told: { done: number; total: number }[] = [];
    const run = project.path('told');
    const onCheck = (progress: { done: number; total: number }) => told.push(progress);
    await using _ = await Unlearner.open({ run, config: project.configFile, device: device(), onCheck });
    expect(told).toEqual([0, 8, 16, 24, 32].map((done) => ({ done, total: 34 })));
  });

  test('that lacks rows of a table without ids names one that can be erased', async () => {
    await project.writeTrain(sound());
    const config = await project.writeConfig('rows.json', { data: { id: undefined } });
    const run = await project.open('rows', { device: device(), config });
    await project.writeTrain(sound().slice(0, -1));
    await refused(run.train(), 'data', 'train.jsonl: 1 record of the run is missing, first train/23;');
    await run.erase(['train/23']);
    await run.train();
    await run.close();
  });

  test('that changed since the run began is refused by name, and the run waits for the old', async () => {
    await project.copy('trained', 'changing');
    const all = sound();
    const changes: [typeof all, string][] = [
      [all.with(6, { ...madeRecord(6, 77) }), 'record person-6 was changed'],
      [all.with(6, { ...all[6]!, label: 'top' }), 'record person-6 was changed'],
      [[...all, madeRecord(99)], 'record person-99 is not part of this run'],
      [all.toSpliced(4, 1), '1 record of the run is missing, first the one whose id hashes to '],
    ];
    const run = await project.open('changing', { device: device() });
    const before = await run.status();
    await run.erase(['person-1']);
    const after = await run.status();
    for (const [records, problem] of changes) {
      await project.writeTrain(records);
      await refused(run.repair(), 'data', 'train.jsonl', problem);
      await refused(run.verify(), 'data', 'train.jsonl', problem);
      expect(await run.status()).toEqual(after);
      expect((await run.predict([imageOf(all[0]!)])).version).toBe(after.version);
    }
    await project.writeTrain(all);
    await run.repair();
    expect((await run.verify()).identical).toBe(true);
    expect((await run.status()).records).toBe(before.records - 1);
    await run.close();
  });

  test('to measure with may be missing or wrong, and be put right', async () => {
    await project.copy('trained', 'measured');
    const run = await project.open('measured', { device: device() });
    const file = project.path('eval.jsonl');
    const text = await readFile(file, 'utf8');
    await rm(file);
    await refused(run.evaluate(), 'data', 'eval.jsonl');
    await writeFile(file, text.replace('"label":"top"', '"label":"middle"'));
    await refused(run.evaluate(), 'data', 'eval.jsonl', 'middle');
    await writeFile(file, text);
    expect((await run.evaluate()).examples).toBe(10);
    await run.close();
    const config = await project.writeConfig('no-eval.json', { data: { eval: undefined } });
    const without = await project.open('no-eval', { device: device(), config });
    await refused(without.evaluate(), 'config', 'data.eval', 'missing');
    await without.close();
  });
});
