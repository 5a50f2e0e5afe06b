import { deletionRate, selectSequences, servedStacks } from '@s3t/algorithm';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bestPrefix, deletionOrder, performanceOverDeletions, type StreamOptions } from './streams.ts';

const cyclic = (slices: number, budget: number) => selectSequences('cyclic', { slices, budget });

/** So many records that deleting without repeats is as good as with. */
const SHAPE = { shards: 3, slices: 4, cells: Array.from({ length: 12_000 }, (_, record) => record % 12) };
const METHODS = [1, 2, 4].map((budget) => ({ name: `B = ${budget}`, sequences: cyclic(4, budget) }));

const stream = (change: Partial<StreamOptions> = {}) =>
  performanceOverDeletions({
    ...SHAPE,
    methods: METHODS,
    streams: 100,
    seed: 3,
    // As good as it is deep.
    score: (served) => served.reduce((sum, prefix) => sum + (prefix?.length ?? 0), 0) / 12,
    nothing: 0,
    ...change,
  });

describe('deletion streams', () => {
  test('end when Lemma 1 expects, and a larger budget never serves less', async () => {
    const found = await stream();
    found.forEach(({ deletions, mean, depth }, i) => {
      const expected = deletionRate({ ...SHAPE, budget: METHODS[i]!.sequences.length });
      expect(Math.abs(deletions.mean - expected)).toBeLessThan((4 * deletions.std) / Math.sqrt(100));
      expect([mean[0], depth[0]]).toEqual([1, 4]);
      expect(mean.at(-1)).toBeLessThan(0.01);
      for (const [at, value] of depth.entries()) expect(mean[at]).toBeCloseTo(value / 4, 12);
      for (const [at, value] of (found[i - 1]?.mean ?? []).entries())
        expect(mean[at]).toBeGreaterThanOrEqual(value);
    });
  });

  test('ask for every ensemble once, and never for one that serves nothing', async () => {
    const asked: string[] = [];
    const [only] = await stream({
      methods: [METHODS[0]!],
      streams: 5,
      nothing: 0.25,
      score: (served) => {
        asked.push(JSON.stringify(served));
        return 0.5;
      },
    });
    expect(new Set(asked).size).toBe(asked.length);
    expect(asked).not.toContain(JSON.stringify([null, null, null]));
    expect(only!.mean[0]).toBe(0.5);
    expect(only!.mean.at(-1)).toBe(0.25);
  });

  test('delete every record once, in an order of their own', () => {
    const order = deletionOrder(50, 0, 1);
    expect(order.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, record) => record));
    expect(deletionOrder(50, 0, 1)).toEqual(order);
    expect(deletionOrder(50, 1, 1)).not.toEqual(order);
  });
});

test('the best prefix is the one that a run serves', () => {
  const sequences = cyclic(4, 7);
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer({ min: 0, max: 3 })), (slices) => {
      const erased = new Set(slices);
      const plan = sequences.flatMap((sequence, number) =>
        sequence.map((_, position) => ({
          ...{ id: sequence.slice(0, position + 1).join(), parent: null, shard: 0, position, lineage: [] },
          ...{ slices: sequence.slice(0, position + 1), sequences: [number] },
        })),
      );
      const isActive = (id: string) => !id.split(',').some((slice) => erased.has(Number(slice)));
      const [stack] = servedStacks(plan, sequences, 1, isActive);
      expect(bestPrefix(sequences, erased)?.join() ?? undefined).toBe(stack!.stages.at(-1));
    }),
  );
});
