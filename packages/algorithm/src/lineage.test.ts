import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { digestOf } from './canonical.ts';
import { affectedBy } from './ensemble.ts';
import { AlgorithmError } from './errors.ts';
import { countStages, planStages, SliceHash, sliceDigest, stageId } from './lineage.ts';
import { place, recordKey } from './partition.ts';
import { selectSequences } from './sequences/index.ts';

const setting = { base: 'b', lora: { rank: 4, targets: ['query'] }, seed: 1 };
const digests = (shards: number, slices: number) =>
  Array.from({ length: shards }, (_, shard) =>
    Array.from({ length: slices }, (_, slice) => digestOf([shard, slice])),
  );

describe('sliceDigest', () => {
  const records = fc.uniqueArray(fc.record({ key: fc.string(), digest: fc.string() }), {
    selector: ({ key }) => key,
    maxLength: 20,
  });

  it('does not depend on the order of the records, and changes with any of them', () => {
    fc.assert(
      fc.property(records, fc.nat(), (all, pick) => {
        const digest = sliceDigest(all);
        expect(sliceDigest([...all].reverse())).toBe(digest);
        if (all.length === 0) return;
        const at = pick % all.length;
        expect(sliceDigest(all.filter((_, i) => i !== at))).not.toBe(digest);
        const changed = all.map((record, i) =>
          i === at ? { ...record, digest: `${record.digest}!` } : record,
        );
        expect(sliceDigest(changed)).not.toBe(digest);
      }),
    );
  });

  it('hashes what it says it hashes, in as many pieces as it takes', () => {
    const lines = Array.from({ length: 2_000 }, (_, i) => ({ key: recordKey(`${i}`), digest: `d${i}` }));
    const hash = createHash('sha256').update('s3t-slice-1\n');
    for (const { key, digest } of lines.toSorted((a, b) => (a.key < b.key ? -1 : 1))) {
      hash.update(`["${key}","${digest}"]\n`);
    }
    expect(sliceDigest(lines)).toBe(hash.digest('hex'));
  });

  it('refuses a record that is there twice', () => {
    const twice = ['b', 'a', 'b'].map((key) => ({ key, digest: 'd' }));
    expect(() => sliceDigest(twice)).toThrow('the record b twice');
  });

  it('takes records one by one, in order of key alone', () => {
    const hash = new SliceHash();
    const sorted = ['a', 'b', 'c'].map((key) => ({ key, digest: 'd' }));
    for (const record of sorted) hash.add(record);
    expect(() => hash.add(sorted[2]!)).toThrow('the record c twice');
    expect(() => hash.add(sorted[0]!)).toThrow('the record a comes before c');
    expect(hash.records).toBe(3);
    expect(hash.digest()).toBe(sliceDigest(sorted));
  });
});

describe('stageId', () => {
  it('changes with every element of the lineage, their order, and every part of the setting', () => {
    const ids = [
      stageId(setting, ['x', 'y']),
      stageId(setting, ['y', 'x']),
      stageId(setting, ['x']),
      stageId(setting, ['xy']),
      stageId(setting, ['x', 'z']),
      stageId(setting, ['x', 'y', 'z']),
      stageId({ ...setting, base: 'c' }, ['x', 'y']),
      stageId({ ...setting, seed: 2 }, ['x', 'y']),
      stageId({ ...setting, lora: { ...setting.lora, rank: 5 } }, ['x', 'y']),
      stageId({ ...setting, lora: { ...setting.lora, targets: ['value'] } }, ['x', 'y']),
      stageId({ ...setting, extra: null }, ['x', 'y']),
    ];
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('is the documented digest, whatever the order of the setting', () => {
    const text = '{"format":"s3t-stage-1","lineage":["x"],"setting":{"a":1,"b":2}}';
    expect(stageId({ b: 2, a: 1 }, ['x'])).toBe(createHash('sha256').update(text).digest('hex'));
  });

  it('refuses an empty lineage', () => {
    expect(() => stageId(setting, [])).toThrow(AlgorithmError);
  });
});

describe('planStages', () => {
  it.each([
    ['all', 3, 6, 3 + 6 + 6],
    ['all', 4, 24, 4 + 12 + 24 + 24],
    ['cyclic', 4, 1, 4],
    ['cyclic', 4, 4, 16],
    ['cyclic', 4, 13, 4 + 12 + 13 + 13],
    ['cyclic', 7, 7, 49],
  ])('plans each prefix once: %s, %i slices, budget %i: %i stages a shard', (name, slices, budget, count) => {
    const sequences = selectSequences(name, { slices, budget });
    const plan = planStages({ setting, sequences, sliceDigests: digests(3, slices) });
    expect(plan).toHaveLength(3 * count);
    expect(countStages(sequences)).toBe(count);
    expect(new Set(plan.map(({ id }) => id)).size).toBe(3 * count);
  });

  it('is a trie: parents first, every stage of every sequence there, shard by shard', () => {
    const order = fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(fc.array(order, { minLength: 1, maxLength: 8 }), (sequences) => {
        const sliceDigests = digests(2, 4);
        const plan = planStages({ setting, sequences, sliceDigests });
        const seen = new Set<string | null>([null]);
        for (const stage of plan) {
          expect(seen.has(stage.parent)).toBe(true);
          seen.add(stage.id);
          expect(stage.slices).toHaveLength(stage.position + 1);
          expect(stage.lineage).toEqual(stage.slices.map((slice) => sliceDigests[stage.shard]![slice]));
          expect(stage.id).toBe(stageId(setting, stage.lineage));
          const parent = plan.find(({ id }) => id === stage.parent);
          expect(parent?.lineage ?? []).toEqual(stage.lineage.slice(0, -1));
          const through = sequences.flatMap((sequence, number) =>
            stage.slices.every((slice, position) => sequence[position] === slice) ? [number] : [],
          );
          expect(stage.sequences).toEqual(through);
        }
        const passes = plan.reduce((sum, stage) => sum + stage.sequences.length, 0);
        expect(passes).toBe(2 * sequences.length * 4);
        expect(plan.map(({ shard }) => shard)).toEqual(plan.map(({ shard }) => shard).sort());
      }),
    );
  });

  it('gives equal content equal ids in whatever shard it lies', () => {
    const [row] = digests(1, 3);
    const sequences = selectSequences('cyclic', { slices: 3, budget: 4 });
    const plan = planStages({ setting, sequences, sliceDigests: [row!, row!] });
    const ids = (shard: number) => plan.filter((stage) => stage.shard === shard).map(({ id }) => id);
    expect(ids(0)).toEqual(ids(1));
  });

  it('treats prefixes that differ in empty slices alone as one stage', () => {
    const sequences = selectSequences('all', { slices: 3, budget: 6 });
    const plan = planStages({ setting, sequences, sliceDigests: [['empty', 'empty', 'full']] });
    expect(new Set(plan.map(({ id }) => id)).size).toBe(plan.length);
    const first = plan.filter(({ position }) => position === 0);
    expect(first.map(({ sequences }) => sequences)).toEqual([
      [0, 1, 2, 3],
      [4, 5],
    ]);
  });

  it('refuses sequences and digests that do not fit', () => {
    const plan = (sequences: number[][], sliceDigests = digests(1, 2)) =>
      planStages({ setting, sequences, sliceDigests });
    expect(() => plan([])).toThrow('at least one sequence');
    expect(() => plan([[0, 0]])).toThrow('sequence 0 is no permutation of 0 to 1');
    expect(() => plan([[0, 1], [0]])).toThrow('sequence 1');
    expect(() => plan([[0, 1]], digests(1, 3))).toThrow('shard 0 has 3 slice digests, not 2');
  });
});

describe('erasure', () => {
  it('changes the wanted id of exactly the stages it affects', () => {
    const options = { shards: 2, slices: 3, seed: 5 };
    const sequences = selectSequences('cyclic', { slices: 3, budget: 4 });
    const plan = (ids: readonly string[]) =>
      planStages({
        setting,
        sequences,
        sliceDigests: [0, 1].map((shard) =>
          [0, 1, 2].map((slice) =>
            sliceDigest(
              ids
                .filter((id) => place(id, options).shard === shard && place(id, options).slice === slice)
                .map((id) => ({ key: recordKey(id), digest: digestOf(id) })),
            ),
          ),
        ),
      });
    const people = fc.uniqueArray(fc.tuple(fc.string(), fc.boolean()), {
      selector: ([id]) => id,
      maxLength: 25,
    });
    fc.assert(
      fc.property(people, (all) => {
        const before = plan(all.map(([id]) => id));
        const after = new Set(
          plan(all.filter(([, erased]) => !erased).map(([id]) => id)).map(({ id }) => id),
        );
        const placements = all.filter(([, erased]) => erased).map(([id]) => place(id, options));
        for (const stage of before) expect(after.has(stage.id)).toBe(!affectedBy(stage, placements));
      }),
      { numRuns: 60 },
    );
  });
});
