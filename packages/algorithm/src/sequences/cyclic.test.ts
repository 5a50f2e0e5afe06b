import { describe, expect, it } from 'vitest';
import { factorial, fallingFactorial, isPermutation } from '../combinatorics.ts';
import { averageEditDistance, selectSequences } from './index.ts';

const cyclic = (slices: number, budget: number) => selectSequences('cyclic', { slices, budget });

describe.each([1, 2, 3, 4, 5])('cyclic, %i slices, every budget', (slices) => {
  const budgets = Array.from({ length: factorial(slices) }, (_, i) => i + 1);

  it('gives as many distinct permutations as asked for', () => {
    for (const budget of budgets) {
      const sequences = cyclic(slices, budget);
      expect(sequences.every((sequence) => isPermutation(sequence, slices))).toBe(true);
      expect(new Set(sequences.map(String)).size).toBe(budget);
    }
  });

  it('only adds sequences when the budget grows', () => {
    const full = cyclic(slices, factorial(slices));
    for (const budget of budgets) expect(cyclic(slices, budget)).toEqual(full.slice(0, budget));
  });

  it('spreads the sequences evenly over the prefixes of every length', () => {
    for (const budget of budgets) {
      for (let depth = 1; depth <= slices; depth++) {
        const counts = new Map<string, number>();
        for (const sequence of cyclic(slices, budget)) {
          const prefix = String(sequence.slice(0, depth));
          counts.set(prefix, (counts.get(prefix) ?? 0) + 1);
        }
        const share = budget / fallingFactorial(slices, depth);
        expect(Math.max(...counts.values())).toBe(Math.ceil(share));
        if (share >= 1) expect(Math.min(...counts.values())).toBe(Math.floor(share));
      }
    }
  });
});

describe('cyclic', () => {
  it('starts with the rotations', () => {
    expect(cyclic(4, 4)).toEqual([
      [0, 1, 2, 3],
      [1, 2, 3, 0],
      [2, 3, 0, 1],
      [3, 0, 1, 2],
    ]);
  });

  it('keeps prefixes and rotates suffixes beyond: 13 of 4', () => {
    const sequences = cyclic(4, 13);
    expect(sequences.slice(4, 8)).toEqual([
      [0, 2, 3, 1],
      [1, 3, 0, 2],
      [2, 0, 1, 3],
      [3, 1, 2, 0],
    ]);
    expect(sequences.slice(12)).toEqual([[0, 1, 3, 2]]);
    expect(sequences).toHaveLength(13);
    // The thirteen of the public code's example, which it lists sorted.
    const example = '0123 0132 0231 0312 1023 1230 1302 2013 2130 2301 3012 3120 3201';
    expect(sequences.map((sequence) => sequence.join('')).sort()).toEqual(example.split(' '));
  });

  it('repeats no slice at a position for budgets up to L: the edit distance is L', () => {
    for (let slices = 2; slices <= 9; slices++) {
      for (let budget = 2; budget <= slices; budget++) {
        const sequences = cyclic(slices, budget);
        for (let position = 0; position < slices; position++) {
          expect(new Set(sequences.map((sequence) => sequence[position])).size).toBe(budget);
        }
        expect(averageEditDistance(sequences)).toBe(slices);
      }
    }
  });
});
