import { expect, test } from 'vitest';
import { batchesOf, bucketFor, defaultBuckets } from './batches.ts';

test('lengths are powers of two up to what a text may have', () => {
  expect(defaultBuckets(128)).toEqual([16, 32, 64, 128]);
  expect(defaultBuckets(100)).toEqual([16, 32, 64, 100]);
  expect(defaultBuckets(12)).toEqual([12]);
  expect([1, 16, 17, 100].map((tokens) => bucketFor([16, 32, 100], tokens))).toEqual([16, 16, 32, 100]);
});

test('a batch holds one length, in the order of the epoch, and only what is left over is mixed', () => {
  const lengths = [8, 16, 8, 16, 16, 8, 8, 32, 16, 8];
  const order = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0];
  expect(batchesOf(order, (record) => lengths[record]!, 2)).toEqual([
    { records: [9, 6], tokens: 8 },
    { records: [8, 4], tokens: 16 },
    { records: [5, 2], tokens: 8 },
    { records: [3, 1], tokens: 16 },
    { records: [0, 7], tokens: 32 },
  ]);
  // One length: batches are cut as they come.
  expect(batchesOf(order, () => 5, 4).map(({ records }) => records)).toEqual([
    [9, 8, 7, 6],
    [5, 4, 3, 2],
    [1, 0],
  ]);
});

test('every record comes once, in as many batches as without lengths, and never in a row too short', () => {
  for (const count of [1, 7, 40, 99]) {
    const lengthOf = (record: number) => [16, 32, 64][(record * 7 + 3) % 3]!;
    const order = Array.from({ length: count }, (_, i) => (i * 31) % count);
    const batches = batchesOf(order, lengthOf, 8);
    expect(batches.flatMap(({ records }) => records).sort((a, b) => a - b)).toEqual(
      [...order].sort((a, b) => a - b),
    );
    expect(batches).toHaveLength(Math.ceil(count / 8));
    for (const { records, tokens } of batches) expect(tokens).toBe(Math.max(...records.map(lengthOf)));
  }
});
