import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AlgorithmError, place, reserveSlices, selectSequences, simulateRepair } from './index.ts';
import { type PlacedRecord, priorAwarePlacer } from './prior-aware-partition.ts';

const OPTIONS = { shards: 3, slices: 6, seed: 7, open: { rare: [0, 1, 2, 3], likely: [5] } };

const records = fc.uniqueArray(
  fc.record(
    {
      id: fc.string(),
      group: fc.constantFrom('a', 'b', 'c'),
      likelihood: fc.constantFrom('rare', 'likely', 'unheard of'),
    },
    { requiredKeys: ['id'] },
  ),
  { selector: ({ id }) => id, minLength: 2, maxLength: 30 },
);

describe('priorAwarePlacer', () => {
  it('is the documented HMAC, and that of placer where a record has neither group nor class', () => {
    const at = priorAwarePlacer(OPTIONS);
    expect(at({ id: 'train/0' })).toEqual(place('train/0', OPTIONS));
    const digest = createHmac('sha256', 's3t-place-group-1:7').update('Zoë').digest();
    expect(at({ id: 'train/0', group: 'Zoë', likelihood: 'rare' })).toEqual({
      shard: Number(digest.readBigUInt64BE(0) % 3n),
      slice: [0, 1, 2, 3][Number(digest.readBigUInt64BE(8) % 4n)],
    });
  });

  it('moves nobody when a record leaves, whatever its group, class and place in the data', () => {
    fc.assert(
      fc.property(records, fc.nat(), (all, pick) => {
        const placed = (list: PlacedRecord[]) => {
          const at = priorAwarePlacer(OPTIONS);
          return new Map(list.map((record) => [record.id, at(record)]));
        };
        const before = placed(all);
        const removed = all[pick % all.length]!;
        before.delete(removed.id);
        const after = placed(all.filter((record) => record !== removed).reverse());
        expect(new Map([...after].reverse())).toEqual(before);
      }),
    );
  });

  it('keeps groups together and classes where they belong', () => {
    const at = priorAwarePlacer(OPTIONS);
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.string(), (id, other, group) => {
        expect(at({ id, group })).toEqual(at({ id: other, group }));
        expect(at({ id, group, likelihood: 'likely' }).slice).toBe(5);
        expect(at({ id, group, likelihood: 'likely' }).shard).toBe(at({ id: other, group }).shard);
        expect(OPTIONS.open.rare).toContain(at({ id, likelihood: 'rare' }).slice);
      }),
    );
  });

  it('pays: the depth served under the same erasures is greater than with all slices alike', () => {
    const slices = 6;
    const { prior } = reserveSlices({
      slices,
      classes: [
        { name: 'rare', records: 5, erasures: 1 },
        { name: 'likely', records: 1, erasures: 9 },
      ],
    });
    const depth = (by: number[] | undefined) =>
      simulateRepair({
        shards: 3,
        sequences: selectSequences('bms', { slices, budget: 2, prior: by }),
        policy: { kind: 'batch', count: 10 },
        stageSeconds: new Array(slices).fill(0),
        erasuresPerDay: 10,
        days: 100,
        trials: 4,
        seed: 1,
        prior: by,
      }).meanDepth;
    expect(depth(prior)).toBeGreaterThan(depth(undefined) + 1);
  });

  it.each<[Record<string, number[]>, string]>([
    [{ rare: [] }, 'class rare needs different slices from 0 to 5, got []'],
    [{ rare: [6] }, 'got [6]'],
    [{ rare: [1, 1] }, 'got [1,1]'],
    [{ rare: [0.5] }, 'got [0.5]'],
  ])('refuses %j', (open, message) => {
    expect(() => priorAwarePlacer({ ...OPTIONS, open })).toThrow(AlgorithmError);
    expect(() => priorAwarePlacer({ ...OPTIONS, open })).toThrow(message);
  });
});
