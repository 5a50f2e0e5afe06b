import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isPermutation } from '../combinatorics.ts';
import { averageEditDistance, score, selectSequences } from './index.ts';

const bms = (prior: number[], budget = prior.length, lookahead = 100) =>
  selectSequences('bms', { slices: prior.length, budget, prior, lookahead });

const priors = (maxLength: number) =>
  fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 2, maxLength }).map((parts) => {
    const sum = parts.reduce((a, b) => a + b, 0);
    return parts.map((part) => part / sum);
  });

describe('bms', () => {
  it('starts a sequence at each slice and repeats none at a position: the edit distance is L (Lemma 3)', () => {
    fc.assert(
      fc.property(priors(9), (prior) => {
        const sequences = bms(prior);
        expect(sequences.map(([first]) => first)).toEqual([...prior.keys()]);
        expect(sequences.every((sequence) => isPermutation(sequence, prior.length))).toBe(true);
        expect(averageEditDistance(sequences)).toBe(prior.length);
      }),
      { numRuns: 50 },
    );
  });

  it('extends by the matching of greatest total score at every position', () => {
    fc.assert(
      fc.property(priors(5), fc.integer({ min: 1, max: 4 }), (prior, lookahead) => {
        const L = prior.length;
        const sequences = bms(prior, L, lookahead);
        const columns = selectSequences('all', { slices: L, budget: [1, 1, 2, 6, 24, 120][L]! });
        for (let length = 2; length <= L; length++) {
          const total = (added: (number: number) => number) =>
            sequences.reduce(
              (sum, sequence, i) =>
                sum + score([...sequence.slice(0, length - 1), added(i)], prior, lookahead),
              0,
            );
          const best = total((i) => sequences[i]![length - 1]!);
          for (const column of columns) {
            if (column.some((slice, i) => sequences[i]!.slice(0, length - 1).includes(slice))) continue;
            expect(total((i) => column[i]!)).toBeLessThanOrEqual(best * (1 + 1e-9));
          }
        }
      }),
      { numRuns: 30 },
    );
  });

  it('lets the likely slices come late: above cyclic rotation under a steep prior', () => {
    const prior = [0.4, 0.3, 0.2, 0.1];
    const total = (sequences: number[][]) => sequences.reduce((sum, one) => sum + score(one, prior, 2), 0);
    // By hand: 0 and 1 pair up, as 2 and 3 do; then 0 and 2 choose before 1 and 3.
    expect(bms(prior, 4)).toEqual([
      [0, 1, 3, 2],
      [1, 0, 2, 3],
      [2, 3, 1, 0],
      [3, 2, 0, 1],
    ]);
    expect(total(bms(prior, 4, 2))).toBeGreaterThan(
      total(selectSequences('cyclic', { slices: 4, budget: 4 })),
    );
  });

  it('keeps the best for a smaller budget and refuses a larger one', () => {
    const prior = [0.4, 0.3, 0.2, 0.1];
    expect(bms(prior, 2)).toEqual([bms(prior)[2], bms(prior)[3]]);
    expect(() => bms(prior, 5)).toThrow(
      'strategy "bms" gives one sequence per slice: at most 4, got 5; the nearest valid value is 4',
    );
  });

  it('breaks ties by the number of the slice', () => {
    expect(selectSequences('bms', { slices: 4, budget: 4 })).toEqual([
      [0, 1, 2, 3],
      [1, 0, 3, 2],
      [2, 3, 0, 1],
      [3, 2, 1, 0],
    ]);
  });
});
