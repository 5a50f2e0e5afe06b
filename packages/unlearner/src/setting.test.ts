import { expect, test } from 'vitest';
import type { EnsembleMode } from './combine.ts';
import { parseConfig } from './config.ts';
import { manifestFunction, stageSetting } from './setting.ts';
import { CONFIG, TEXT_CONFIG } from './testing/project.ts';

const BASE = { digest: 'base', buckets: [5], network: { architecture: { tokens: 5 } } };
const settingOf = (change: object) => stageSetting(parseConfig({ ...CONFIG, ...change }, 'c.json'), BASE);

test('the setting of a stage says how the base is quantised, and nothing of it where it is not', () => {
  expect(settingOf({ quantization: 'int8' })).toEqual({ ...settingOf({}), quantization: 'int8' });
  expect(settingOf({})).not.toHaveProperty('quantization');
});

test('the setting of a stage says that activations are f16, and nothing of them where they are f32', () => {
  const plain = settingOf({});
  expect(settingOf({ training: { activations: 'f32' } })).toEqual(settingOf({ training: {} }));
  const half = settingOf({ training: { activations: 'f16' } });
  expect(half).toEqual({
    ...half,
    training: { ...(settingOf({ training: {} }).training as object), activations: 'f16' },
  });
  expect(half).not.toEqual(settingOf({ training: {} }));
  expect(plain.training).not.toHaveProperty('activations');
  // Rounding once more what is rounded changes nothing.
  expect(settingOf({ training: { activations: 'f16', keep: { dtype: 'f16' } } })).toEqual(half);
});

test('a manifest says how answers become one, where it is not the mean of logits, and a stage does not', () => {
  const run = { base: 'b', settingDigest: 's', sequences: [[0]], shards: 1 };
  const manifestOf = (ensemble: EnsembleMode | undefined) => manifestFunction({ ...run, ensemble })([]);
  expect(manifestOf('vote').manifest).toEqual({
    ...(manifestOf(undefined).manifest as object),
    ensemble: 'vote',
  });
  expect(manifestOf('mean-logits')).toEqual(manifestOf(undefined));
  expect(manifestOf('vote').digest).not.toBe(manifestOf(undefined).digest);
  expect(settingOf({ ensemble: 'vote' })).toEqual(settingOf({}));
});

test('a run opens with the configuration that it has stored, whatever its task', () => {
  const texts = { ...TEXT_CONFIG, ensemble: undefined };
  const data = { train: 'train.jsonl', text: ['premise'] };
  const configs = [
    CONFIG,
    TEXT_CONFIG,
    { ...texts, task: 'text-regression', data: { ...data, label: 'label' } },
    { ...texts, task: 'causal-lm', data },
    { ...CONFIG, training: { augmentation: { randomResizedCrop: {} } }, evaluation: { metric: 'f1' } },
  ];
  for (const config of configs) {
    const stored = JSON.parse(JSON.stringify(parseConfig(config, 'c.json')));
    expect(JSON.parse(JSON.stringify(parseConfig(stored, 'run')))).toEqual(stored);
  }
});

test('where epochs are measured, the evaluation data and the measure are part of a stage', () => {
  const training = { earlyStopping: { patience: 2 } };
  const stopped = (evaluation: string, metric?: string) =>
    stageSetting(parseConfig({ ...CONFIG, training, evaluation: { metric } }, 'c.json'), BASE, {
      evaluation,
    });
  expect(stopped('e')).toMatchObject({
    data: { eval: 'e' },
    training: { earlyStopping: { patience: 2, metric: 'accuracy' } },
  });
  expect(stopped('f')).toEqual({ ...stopped('e'), data: { eval: 'f' } });
  expect(stopped('e', 'f1')).not.toEqual(stopped('e'));
  // Elsewhere nothing of it: ids stay what they were.
  expect(settingOf({ evaluation: { metric: 'f1' } })).toEqual(settingOf({}));
  expect(settingOf({})).not.toHaveProperty('data');
  expect(settingOf({}).training).not.toHaveProperty('earlyStopping');
});

test('pixels of another decoder make other stages, of images only', () => {
  const decodedBy = (decoder: string, config: object = CONFIG) =>
    stageSetting(parseConfig(config, 'c.json'), BASE, { decoder });
  expect(decodedBy('browser')).toEqual({ ...settingOf({}), decoder: 'browser' });
  expect(decodedBy('sharp')).toEqual(settingOf({}));
  expect(decodedBy('browser', TEXT_CONFIG)).not.toHaveProperty('decoder');
});

test('a quantisation that is not known is refused by name', () => {
  expect(() => settingOf({ quantization: 'int2' })).toThrow(
    'c.json: quantization: must be one of f16, int8, int4',
  );
});
