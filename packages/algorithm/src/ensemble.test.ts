import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { digestOf } from './canonical.ts';
import { affectedBy, type Manifest, manifestDigest, servedStacks, survivingDepth } from './ensemble.ts';
import { AlgorithmError } from './errors.ts';
import { planStages } from './lineage.ts';
import type { Placement } from './partition.ts';
import { selectSequences } from './sequences/index.ts';

const SHARDS = 3;
const SLICES = 4;

function run(sequences: readonly (readonly number[])[]) {
  const sliceDigests = Array.from({ length: SHARDS }, (_, shard) =>
    Array.from({ length: SLICES }, (_, slice) => digestOf([shard, slice])),
  );
  const plan = planStages({ setting: {}, sequences, sliceDigests });
  const gone = new Set<string>();
  return {
    plan,
    erase(placement: Placement) {
      for (const stage of plan) if (affectedBy(stage, [placement])) gone.add(stage.id);
    },
    stacks: () => servedStacks(plan, sequences, SHARDS, (id) => !gone.has(id)),
  };
}

const orders = selectSequences('all', { slices: SLICES, budget: 24 });
// Any set of sequences that begins with SISA's order, and any stream of erasures.
const chosen = fc.subarray(orders.slice(1)).map((rest) => [orders[0]!, ...rest]);
const erasure = fc.record({ shard: fc.nat({ max: SHARDS - 1 }), slice: fc.nat({ max: SLICES - 1 }) });
const stream = fc.array(erasure, { maxLength: 30 });

describe('survivingDepth', () => {
  it('ends before the first erased slice, for every permutation of up to 6 slices', () => {
    for (let slices = 1; slices <= 6; slices++) {
      const budget = [1, 1, 2, 6, 24, 120, 720][slices]!;
      for (const sequence of selectSequences('all', { slices, budget })) {
        for (let mask = 0; mask < 1 << slices; mask++) {
          const erased = new Set(sequence.filter((slice) => mask & (1 << slice)));
          const depth = survivingDepth(sequence, erased);
          const kept = sequence.slice(0, depth).some((slice) => erased.has(slice));
          const next = sequence[depth];
          if (kept || (next === undefined ? erased.size > 0 : !erased.has(next))) {
            throw new Error(`depth ${depth} of ${sequence} without ${[...erased]}`);
          }
        }
      }
    }
    expect(survivingDepth([2, 0, 1], new Set([0]))).toBe(1);
    expect(survivingDepth([2, 0, 1], new Set())).toBe(3);
  });
});

describe('servedStacks under random erasures', () => {
  it('serves nothing erased, and the longest prefix there is', () => {
    fc.assert(
      fc.property(chosen, stream, (sequences, erasures) => {
        const world = run(sequences);
        const erased = Array.from({ length: SHARDS }, () => new Set<number>());
        for (const placement of erasures) {
          world.erase(placement);
          erased[placement.shard]!.add(placement.slice);
          for (const stack of world.stacks()) {
            const depths = sequences.map((sequence) => survivingDepth(sequence, erased[stack.shard]!));
            const depth = Math.max(...depths);
            expect(stack.depth).toBe(depth);
            expect(stack.sequence).toBe(depth === 0 ? null : depths.indexOf(depth));
            const lineages = world.plan
              .filter(({ shard, id }) => shard === stack.shard && stack.stages.includes(id))
              .map(({ slices }) => slices);
            const prefix = sequences[stack.sequence ?? 0]!.slice(0, depth);
            expect(lineages).toEqual(prefix.map((_, position) => prefix.slice(0, position + 1)));
            expect(prefix.some((slice) => erased[stack.shard]!.has(slice))).toBe(false);
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  it('is at least as deep as SISA in every shard, and with one sequence exactly as deep', () => {
    fc.assert(
      fc.property(chosen, stream, (sequences, erasures) => {
        const s3t = run(sequences);
        const single = run([orders[0]!]);
        // SISA, by itself: slices 0, 1, 2, ...; everything from the first erased one on is gone.
        const sisa = new Array<number>(SHARDS).fill(SLICES);
        for (const placement of erasures) {
          s3t.erase(placement);
          single.erase(placement);
          sisa[placement.shard] = Math.min(sisa[placement.shard]!, placement.slice);
          expect(single.stacks().map(({ depth }) => depth)).toEqual(sisa);
          for (const { shard, depth } of s3t.stacks()) expect(depth).toBeGreaterThanOrEqual(sisa[shard]!);
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe('servedStacks', () => {
  const sequences = [
    [0, 1, 2, 3],
    [1, 0, 2, 3],
  ];

  it('serves the lowest of equally deep sequences, and nothing past a gap', () => {
    const world = run(sequences);
    expect(world.stacks().map(({ sequence }) => sequence)).toEqual([0, 0, 0]);
    const hole = world.plan.find(({ shard, slices }) => shard === 1 && String(slices) === '0,1');
    const stacks = servedStacks(world.plan, sequences, SHARDS, (id) => id !== hole!.id);
    expect(stacks.map(({ depth, sequence }) => [depth, sequence])).toEqual([
      [4, 0],
      [4, 1],
      [4, 0],
    ]);
  });

  it('takes a stage that is not planned for inactive', () => {
    const world = run(sequences);
    const partial = world.plan.filter(({ shard, position }) => shard !== 0 && position !== 1);
    const stacks = servedStacks(partial, sequences, SHARDS, () => true);
    expect(stacks.map(({ depth }) => depth)).toEqual([0, 1, 1]);
    expect(stacks[0]).toEqual({ shard: 0, sequence: null, depth: 0, stages: [] });
  });

  it('refuses a plan of more shards or sequences than it is told of', () => {
    const { plan } = run(sequences);
    expect(() => servedStacks(plan, sequences, 2, () => true)).toThrow(AlgorithmError);
    expect(() => servedStacks(plan, sequences.slice(1), SHARDS, () => true)).toThrow(AlgorithmError);
  });
});

describe('manifestDigest', () => {
  const manifest: Manifest = {
    base: 'b',
    setting: 's',
    stacks: [
      { shard: 0, sequence: 1, stages: [{ id: 'i', weights: 'w' }] },
      { shard: 1, sequence: null, stages: [] },
    ],
  };

  it('is the digest of the canonical manifest, whatever the order of its stacks', () => {
    expect(manifestDigest(manifest)).toBe(digestOf({ ...manifest }));
    expect(manifestDigest({ ...manifest, stacks: manifest.stacks.toReversed() })).toBe(
      manifestDigest(manifest),
    );
  });

  it('changes with everything in it', () => {
    const [first, second] = manifest.stacks;
    const others: Manifest[] = [
      { ...manifest, base: 'c' },
      { ...manifest, setting: 't' },
      { ...manifest, stacks: [first!] },
      { ...manifest, stacks: [{ ...first!, sequence: 0 }, second!] },
      { ...manifest, stacks: [{ ...first!, stages: [{ id: 'j', weights: 'w' }] }, second!] },
      { ...manifest, stacks: [{ ...first!, stages: [{ id: 'i', weights: 'x' }] }, second!] },
    ];
    expect(new Set([manifest, ...others].map(manifestDigest)).size).toBe(7);
  });

  it('refuses a shard that is there twice', () => {
    const stacks = [manifest.stacks[0]!, manifest.stacks[0]!];
    expect(() => manifestDigest({ ...manifest, stacks })).toThrow('shard 0 twice');
  });
});
