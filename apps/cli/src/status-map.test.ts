import { stripVTControlCharacters } from 'node:util';
import { deletionRate } from '@s3t/algorithm';
import { expect, test } from 'vitest';
import { expectedErasuresLeft, renderMap, servedStages, stageStates } from './status-map.ts';
import { statusLike } from './testing/status.ts';

const orders = [
  [0, 1, 2],
  [1, 2, 0],
];

test('the map shows what serves, what waits and what is missing', () => {
  // Slice 0 of shard 0 lost a record: only the second sequence has stages that never saw it.
  const { shards } = statusLike(2, orders, (shard, slices) => shard === 0 && slices.includes(0));
  expect(stripVTControlCharacters(renderMap(shards))).toBe(
    [
      'shard  serves  sequence  p0   p1   p2',
      '    0  2 of 3         0  · 0  · 1  · 2',
      '                      1  ● 1  ● 2  · 0',
      '    1  3 of 3         0  ● 0  ● 1  ● 2',
      '                      1  ○ 1  ○ 2  ○ 0',
    ].join('\n'),
  );
  expect([...servedStages(shards[0]!)]).toEqual(['stage 0/1', 'stage 0/12']);
});

test('a stage that two sequences share serves in both', () => {
  const [shard] = statusLike(
    1,
    [
      [0, 1, 2],
      [0, 2, 1],
    ],
    () => false,
  ).shards;
  expect(stageStates(shard!)).toEqual([
    ['served', 'served', 'served'],
    ['served', 'active', 'active'],
  ]);
});

test('a full ensemble is expected to last as long as Lemma 1 says, and an empty one not at all', () => {
  const full = statusLike(2, orders, () => false);
  expect(expectedErasuresLeft(full)).toBeCloseTo(deletionRate({ shards: 2, slices: 3, budget: 2 }));
  expect(expectedErasuresLeft(statusLike(2, orders, () => true))).toBe(0);
  const less = statusLike(2, orders, (shard, slices) => shard === 0 && slices.includes(0));
  expect(expectedErasuresLeft(less)).toBeCloseTo(6 * (1 + 1 / 2 + 1 / 3));
});
