import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AlgorithmError } from './errors.ts';
import { place, placer, recordKey, subjectKey } from './partition.ts';

describe('place', () => {
  it('is the documented HMAC, so that stored runs stay where they are', () => {
    for (const id of ['train/0', 'Zoë', '']) {
      const digest = createHmac('sha256', 's3t-place-1:7').update(id).digest();
      expect(place(id, { shards: 5, slices: 4, seed: 7 })).toEqual({
        shard: Number(digest.readBigUInt64BE(0) % 5n),
        slice: Number(digest.readBigUInt64BE(8) % 4n),
      });
    }
  });

  it('fills shards and slices evenly, and shard and slice independently', () => {
    const records = 20_000;
    const cells = new Array<number>(20).fill(0);
    const at = placer({ shards: 5, slices: 4, seed: 1 });
    for (let i = 0; i < records; i++) {
      const { shard, slice } = at(`train/${i}`);
      cells[shard * 4 + slice]!++;
    }
    const chiSquare = cells.reduce((sum, n) => sum + (n - records / 20) ** 2 / (records / 20), 0);
    // 19 degrees of freedom: above 43.8 once in a thousand. Dependent shard and slice would leave cells empty.
    expect(chiSquare).toBeLessThan(43.8);
  });

  it('moves nobody when a record leaves, whatever its place in the data', () => {
    const ids = fc.uniqueArray(fc.string(), { minLength: 2, maxLength: 30 });
    fc.assert(
      fc.property(ids, fc.nat(), fc.nat(), (all, pick, seed) => {
        const options = { shards: 3, slices: 4, seed };
        const placed = (list: string[]) => {
          const at = placer(options);
          return new Map(list.map((id) => [id, at(id)]));
        };
        const before = placed(all);
        const removed = all[pick % all.length]!;
        before.delete(removed);
        const after = placed(all.filter((id) => id !== removed).reverse());
        expect(new Map([...after].reverse())).toEqual(before);
      }),
    );
  });

  it('keeps the shard when the number of slices changes, and depends on the seed', () => {
    const ids = Array.from({ length: 200 }, (_, i) => `id ${i}`);
    const shards = (slices: number, seed: number) =>
      ids.map((id) => place(id, { shards: 7, slices, seed }).shard);
    expect(shards(9, 1)).toEqual(shards(4, 1));
    expect(shards(4, 2)).not.toEqual(shards(4, 1));
  });

  it('refuses what it cannot place', () => {
    expect(() => place('a', { shards: 0, slices: 1, seed: 0 })).toThrow('shards must be an integer from 1');
    expect(() => place('a', { shards: 1, slices: 1.5, seed: 0 })).toThrow(
      'slices must be an integer from 1 to 16777216, got 1.5',
    );
    expect(() => place('a', { shards: 1, slices: 1, seed: -1 })).toThrow('seed');
    expect(() => place('\ud800', { shards: 1, slices: 1, seed: 0 })).toThrow(AlgorithmError);
  });
});

describe('recordKey', () => {
  it('is a keyed digest of the id, and of nothing that placement publishes', () => {
    expect(recordKey('train/0')).toBe(
      createHmac('sha256', 's3t-record-key-1').update('train/0').digest('hex'),
    );
    expect(() => recordKey('\ud800')).toThrow(AlgorithmError);
  });
});

describe('subjectKey', () => {
  it('is a keyed digest of its own: a person and a record of one name differ', () => {
    expect(subjectKey('anna')).toBe(createHmac('sha256', 's3t-subject-key-1').update('anna').digest('hex'));
    expect(subjectKey('anna')).not.toBe(recordKey('anna'));
    expect(() => subjectKey('\ud800')).toThrow(AlgorithmError);
  });
});
