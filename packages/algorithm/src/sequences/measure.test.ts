import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AlgorithmError } from '../errors.ts';
import { averageEditDistance, score, selectSequences } from './index.ts';

describe('score', () => {
  it('is Eq. 24', () => {
    const prior = [0.4, 0.3, 0.2, 0.1];
    // 1 * 0.9^2 + 2 * 0.7^2 + 3 * 0.4^2 + 4 * 0^2
    expect(score([3, 2, 1, 0], prior, 2)).toBeCloseTo(2.27, 12);
    expect(score([0, 1], prior, 1)).toBeCloseTo(0.6 + 2 * 0.3, 12);
    expect(score([], prior, 1)).toBe(0);
    expect(score([3], prior, 100)).toBeCloseTo(0.9 ** 100, 15);
  });

  it('is best for the order of rising probability', () => {
    const weights = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 2, maxLength: 5 });
    fc.assert(
      fc.property(weights, fc.integer({ min: 1, max: 200 }), (parts, lookahead) => {
        const sum = parts.reduce((a, b) => a + b, 0);
        const prior = parts.map((part) => part / sum);
        const rising = prior.map((_, slice) => slice).sort((a, b) => prior[a]! - prior[b]!);
        const best = score(rising, prior, lookahead);
        const orders = selectSequences('all', {
          slices: parts.length,
          budget: [1, 1, 2, 6, 24, 120][parts.length]!,
        });
        for (const order of orders) {
          expect(score(order, prior, lookahead)).toBeLessThanOrEqual(best * (1 + 1e-9));
        }
      }),
      { numRuns: 30 },
    );
  });

  it('refuses slices without a probability and odd lookaheads', () => {
    expect(() => score([2], [0.5, 0.5], 1)).toThrow('the prior has no slice 2');
    expect(() => score([0], [1], 0)).toThrow(AlgorithmError);
  });
});

describe('averageEditDistance', () => {
  it('is the mean over pairs of the positions that differ', () => {
    const sequence = fc.array(fc.nat({ max: 3 }), { minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(fc.array(sequence, { minLength: 2, maxLength: 6 }), (sequences) => {
        let sum = 0;
        let pairs = 0;
        for (const [i, a] of sequences.entries()) {
          for (const b of sequences.slice(i + 1)) {
            sum += a.filter((slice, position) => slice !== b[position]).length;
            pairs++;
          }
        }
        expect(averageEditDistance(sequences)).toBeCloseTo(sum / pairs, 12);
      }),
    );
  });

  it('is 0 without a pair, and refuses unequal lengths', () => {
    expect(averageEditDistance([[0, 1]])).toBe(0);
    expect(averageEditDistance([])).toBe(0);
    expect(() => averageEditDistance([[0, 1], [0]])).toThrow(AlgorithmError);
  });
});
