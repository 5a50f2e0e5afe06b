import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ActiveStages } from './active-stages.ts';
import { AlgorithmError, countStages, selectSequences, survivingDepth } from './index.ts';

const ALL_OF_6 = selectSequences('all', { slices: 6, budget: 720 });

/** Sequences of one strategy or another, and a stream of erased slices in as many shards. */
const systems = fc
  .record({
    strategy: fc.constantFrom('cyclic', 'bms', 'conditional', 'random'),
    slices: fc.integer({ min: 1, max: 7 }),
    shards: fc.integer({ min: 1, max: 4 }),
    seed: fc.nat(),
  })
  .chain(({ strategy, slices, shards, seed }) =>
    fc.record({
      shards: fc.constant(shards),
      sequences: fc
        .integer({ min: 1, max: strategy === 'bms' ? slices : Math.min(9, [1, 1, 2, 6][slices] ?? 9) })
        .map((budget) => selectSequences(strategy, { slices, budget, seed })),
      stream: fc.array(fc.tuple(fc.nat(shards - 1), fc.nat(slices - 1)), { maxLength: 30 }),
    }),
  );

describe('erasures without repair', () => {
  it('every permutation of 6 slices serves its prefix before the first erased slice, whatever is erased', () => {
    for (const sequence of ALL_OF_6) {
      for (let erased = 0; erased < 64; erased++) {
        const slices = new Set([0, 1, 2, 3, 4, 5].filter((slice) => (erased >> slice) & 1));
        const stages = new ActiveStages(1, [sequence]);
        for (const slice of slices) stages.erase(0, slice);
        const depth = stages.depth(0);
        expect(sequence.slice(0, depth).some((slice) => slices.has(slice))).toBe(false);
        expect(depth === 6 || slices.has(sequence[depth]!)).toBe(true);
      }
    }
  });

  it('the full budget of 6 slices serves all that were never hit', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(5), { maxLength: 12 }), (stream) => {
        const stages = new ActiveStages(1, ALL_OF_6);
        for (const slice of stream) stages.erase(0, slice);
        expect(stages.depth(0)).toBe(6 - new Set(stream).size);
      }),
      { numRuns: 50 },
    );
  });

  it('keeps its sums, and serves the longest prefix that no erased slice is in', () => {
    fc.assert(
      fc.property(systems, ({ shards, sequences, stream }) => {
        const stages = new ActiveStages(shards, sequences);
        const erased = Array.from({ length: shards }, () => new Set<number>());
        expect(stages.nodes).toHaveLength(countStages(sequences));
        for (const [shard, slice] of stream) {
          const before = stages.missing;
          expect(stages.erase(shard, slice)).toBe(stages.missing - before);
          erased[shard]!.add(slice);
          const depths = erased.map((hit) => Math.max(...sequences.map((one) => survivingDepth(one, hit))));
          expect(depths.map((_, i) => stages.depth(i))).toEqual(depths);
          expect(stages.totalDepth).toBe(depths.reduce((sum, depth) => sum + depth, 0));
          expect(stages.exhausted).toBe(depths.filter((depth) => depth === 0).length);
        }
      }),
    );
  });

  it('S3T never serves less than SISA on the same stream, and B = 1 is SISA', () => {
    fc.assert(
      fc.property(systems, ({ shards, sequences, stream }) => {
        const s3t = new ActiveStages(shards, sequences);
        const sisa = new ActiveStages(shards, sequences.slice(0, 1));
        // SISA told without stages: each shard is cut where the slice stands in its one order.
        const cut = new Array<number>(shards).fill(sequences[0]!.length);
        for (const [shard, slice] of stream) {
          s3t.erase(shard, slice);
          sisa.erase(shard, slice);
          cut[shard] = Math.min(cut[shard]!, sequences[0]!.indexOf(slice));
          expect(sisa.depth(shard)).toBe(cut[shard]);
          expect(s3t.depth(shard)).toBeGreaterThanOrEqual(cut[shard]!);
        }
      }),
    );
  });
});

describe('repair', () => {
  it('brings back everything, parents first, in any mixture with erasures', () => {
    const steps = fc.array(fc.oneof(fc.constant(null), fc.nat(3)), { maxLength: 60 });
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 6 }), (mixture, budget) => {
        const stages = new ActiveStages(2, selectSequences('cyclic', { slices: 4, budget }));
        const width = stages.nodes.length;
        const train = () => {
          const next = stages.nextMissing();
          if (next < 0) return false;
          const [shard, number] = [Math.floor(next / width), next % width];
          const { position, slices } = stages.nodes[number]!;
          const parent = stages.nodes.findIndex(
            (node) => node.position === position - 1 && node.slices.every((slice, i) => slice === slices[i]),
          );
          expect(stages.isActive(shard, number)).toBe(false);
          if (position > 0) expect(stages.isActive(shard, parent)).toBe(true);
          stages.train(shard, number);
          return true;
        };
        for (const step of mixture) step === null ? train() : stages.erase(step % 2, step);
        while (train());
        expect([stages.missing, stages.totalDepth, stages.exhausted]).toEqual([0, 8, 0]);
      }),
    );
  });

  it('refuses what is no system', () => {
    expect(() => new ActiveStages(0, [[0]])).toThrow(AlgorithmError);
    expect(() => new ActiveStages(1, [])).toThrow(AlgorithmError);
    expect(() => new ActiveStages(2 ** 45, [[0]])).toThrow('the number of stages must be');
    expect(() => new ActiveStages(1, [[0, 0]])).toThrow('no permutation of 0 to 1: 0,0');
  });
});
