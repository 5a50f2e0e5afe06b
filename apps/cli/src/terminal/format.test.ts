import { expect, test } from 'vitest';
import { bytes, count, duration, percent, plural } from './format.ts';
import { facts, table } from './table.ts';

test.each([
  [0.04, '0.0 s'],
  [9.94, '9.9 s'],
  [9.96, '10 s'],
  [59.6, '1 min 00 s'],
  [185, '3 min 05 s'],
  [7800, '2 h 10 min'],
])('%f seconds are %s', (seconds, text) => {
  expect(duration(seconds)).toBe(text);
});

test('numbers for people', () => {
  expect(count(1234567)).toBe('1,234,567');
  expect([plural(1, 'stage'), plural(0, 'stage'), plural(1000, 'stage')]).toEqual([
    '1 stage',
    '0 stages',
    '1,000 stages',
  ]);
  expect(percent(0.98765)).toBe('98.77 %');
  expect([bytes(0), bytes(1023), bytes(1536), bytes(2 ** 27), bytes(2 ** 32)]).toEqual([
    '0 B',
    '1023 B',
    '1.5 KiB',
    '128 MiB',
    '4.0 GiB',
  ]);
});

test('nouns are counted as they are spelt', () => {
  expect([plural(1, 'class'), plural(2, 'class'), plural(2, 'slice')]).toEqual([
    '1 class',
    '2 classes',
    '2 slices',
  ]);
});

test('columns are aligned and lines end where their text ends', () => {
  const columns = [{ title: 'name' }, { title: 'n', align: 'right' as const }, { title: '' }];
  expect(
    table(columns, [
      ['é', '1', ''],
      ['longer', '100', 'x'],
    ]),
  ).toBe(['name      n', 'é         1', 'longer  100  x'].join('\n'));
  expect(
    facts([
      ['a', '1'],
      ['long', '2'],
    ]),
  ).toBe('a     1\nlong  2');
});
