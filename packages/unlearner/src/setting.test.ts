import { expect, test } from 'vitest';
import { parseConfig } from './config.ts';
import { stageSetting } from './setting.ts';
import { CONFIG } from './testing/project.ts';

const BASE = { digest: 'base', buckets: [5], network: { architecture: { tokens: 5 } } };
const settingOf = (change: object) => stageSetting(parseConfig({ ...CONFIG, ...change }, 'c.json'), BASE);

test('the setting of a stage says how the base is quantised, and nothing of it where it is not', () => {
  expect(settingOf({ quantization: 'int8' })).toEqual({ ...settingOf({}), quantization: 'int8' });
  expect(settingOf({})).not.toHaveProperty('quantization');
});

test('a quantisation that is not known is refused by name', () => {
  expect(() => settingOf({ quantization: 'int2' })).toThrow(
    'c.json: quantization: must be one of f16, int8, int4',
  );
});
