import { describe, expect, it } from 'vitest';
import { factorial, isPermutation } from '../combinatorics.ts';
import { averageEditDistance, selectSequences } from './index.ts';

describe.each(['random', 'conditional'])('%s', (strategy) => {
  const select = (budget: number, more: { slices?: number; seed?: number; prior?: number[] } = {}) =>
    selectSequences(strategy, { slices: 4, budget, ...more });

  it.each([1, 2, 3, 4, 5])(
    'gives distinct permutations of %i slices up to the full budget, and only adds some',
    (slices) => {
      const full = select(factorial(slices), { slices });
      expect(full.every((sequence) => isPermutation(sequence, slices))).toBe(true);
      expect(new Set(full.map(String)).size).toBe(factorial(slices));
      expect(select(Math.ceil(full.length / 2), { slices })).toEqual(
        full.slice(0, Math.ceil(full.length / 2)),
      );
    },
  );

  it('is the same for the same seed, and another for another', () => {
    expect(select(4, { seed: 7 })).toEqual(select(4, { seed: 7 }));
    expect(select(4, { seed: 8 })).not.toEqual(select(4, { seed: 7 }));
  });

  it('draws every order alike when all slices are alike', () => {
    const counts = new Map<string, number>();
    for (let seed = 0; seed < 2400; seed++) {
      const order = String(select(1, { seed })[0]);
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    const chiSquare = [...counts.values()].reduce((sum, n) => sum + (n - 100) ** 2 / 100, 0);
    expect(counts.size).toBe(24);
    // 23 degrees of freedom: above 49.7 once in a thousand.
    expect(chiSquare).toBeLessThan(49.7);
  });
});

describe('conditional', () => {
  const first = (prior: number[], slice: number, seeds: number): number => {
    let count = 0;
    for (let seed = 0; seed < seeds; seed++) {
      const [order] = selectSequences('conditional', { slices: prior.length, budget: 1, prior, seed });
      if (order![0] === slice) count++;
    }
    return count / seeds;
  };

  it('starts at slice s with probability (1 - p_s) / (L - 1)', () => {
    const prior = [0.7, 0.2, 0.1];
    for (const [slice, probability] of prior.entries()) {
      // Four standard errors of 4,000 draws.
      expect(Math.abs(first(prior, slice, 4000) - (1 - probability) / 2)).toBeLessThan(
        4 * Math.sqrt(0.25 / 4000),
      );
    }
  });

  it('puts a slice that is sure to be hit last, until no other order is left', () => {
    const sequences = selectSequences('conditional', { slices: 4, budget: 24, prior: [1, 0, 0, 0] });
    expect(sequences.slice(0, 6).every((sequence) => sequence[3] === 0)).toBe(true);
    expect(new Set(sequences.map(String)).size).toBe(24);
  });
});

describe('random', () => {
  it('differs in (L - 1) / (1 - 1/L!) positions on average, as distinct random orders do', () => {
    const seeds = 2000;
    let sum = 0;
    for (let seed = 0; seed < seeds; seed++) {
      sum += averageEditDistance(selectSequences('random', { slices: 4, budget: 2, seed }));
    }
    expect(Math.abs(sum / seeds - 3 / (1 - 1 / 24))).toBeLessThan(4 * Math.sqrt(1 / seeds));
  });
});
