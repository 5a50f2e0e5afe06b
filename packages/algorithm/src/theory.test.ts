import { describe, expect, it } from 'vitest';
import { AlgorithmError } from './errors.ts';
import { deletionRate, harmonic, retention, storageBytes } from './theory.ts';

describe('harmonic', () => {
  it('sums the reciprocals', () => {
    expect(harmonic(0)).toBe(0);
    expect(harmonic(4)).toBeCloseTo(25 / 12, 14);
    // ln n + Euler's constant + 1/2n - 1/12n^2
    expect(harmonic(1e6)).toBeCloseTo(Math.log(1e6) + 0.5772156649015329 + 5e-7, 11);
    expect(() => harmonic(-1)).toThrow(AlgorithmError);
    expect(() => harmonic(1.5)).toThrow(AlgorithmError);
  });
});

describe('deletionRate', () => {
  it.each([
    [1, 45.7],
    [2, 58.6],
    [4, 72.0],
    [24, 72.0],
  ])('is Lemma 1: 5 shards, 4 slices, budget %i: %d', (budget, expected) => {
    expect(deletionRate({ shards: 5, slices: 4, budget })).toBeCloseTo(expected, 1);
  });

  it('is one shard, one slice, one deletion', () => {
    expect(deletionRate({ shards: 1, slices: 1, budget: 1 })).toBe(1);
    expect(() => deletionRate({ shards: 0, slices: 1, budget: 1 })).toThrow('shards');
  });
});

describe('retention', () => {
  it('is Lemma 2', () => {
    expect(retention({ slices: 4, budget: 1, depth: 2, deletions: 3 })).toBeCloseTo(1 / 8, 14);
    expect(retention({ slices: 4, budget: 3, depth: 2, deletions: 3 })).toBeCloseTo(1 - (7 / 8) ** 3, 14);
    // Only 4 prefixes of length 1 exist.
    expect(retention({ slices: 4, budget: 24, depth: 1, deletions: 2 })).toBeCloseTo(1 - (7 / 16) ** 4, 14);
  });

  it('is certain before deletions and at depth 0, impossible at full depth after one', () => {
    expect(retention({ slices: 4, budget: 2, depth: 4, deletions: 0 })).toBe(1);
    expect(retention({ slices: 4, budget: 2, depth: 0, deletions: 9 })).toBe(1);
    expect(retention({ slices: 4, budget: 2, depth: 4, deletions: 1 })).toBeCloseTo(0, 15);
    expect(() => retention({ slices: 4, budget: 2, depth: 5, deletions: 1 })).toThrow('depth');
  });

  it('keeps small probabilities', () => {
    const value = retention({ slices: 2, budget: 2, depth: 1, deletions: 100 });
    expect(value / 2 ** -99).toBeCloseTo(1, 12);
  });
});

describe('storageBytes', () => {
  it('is B m stacks and one base', () => {
    expect(storageBytes({ shards: 5, budget: 4, stackBytes: 1_000 })).toBe(20_000);
    expect(storageBytes({ shards: 5, budget: 4, stackBytes: 1_000, baseBytes: 7 })).toBe(20_007);
    expect(() => storageBytes({ shards: 5, budget: 4, stackBytes: -1 })).toThrow(AlgorithmError);
  });
});
