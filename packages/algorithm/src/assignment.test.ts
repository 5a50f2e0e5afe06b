import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assign } from './assignment.ts';
import { selectSequences } from './index.ts';

/** By trying every order, lexicographically: the first of the best. */
function exhaustively(weights: number[][]): number[] {
  const orders = selectSequences('all', {
    slices: weights.length,
    budget: [1, 1, 2, 6, 24, 120][weights.length]!,
  });
  let best: number[] = [];
  let most = -Infinity;
  for (const order of orders) {
    const total = order.reduce((sum, column, row) => sum + weights[row]![column]!, 0);
    if (total > most) [best, most] = [order, total];
  }
  return best;
}

describe('assign', () => {
  it('finds the best matching, the lexicographically first of equally good ones', () => {
    // Small weights tie often; a diagonal that is allowed leaves at least one perfect matching.
    const weight = fc.oneof(fc.constant(-Infinity), fc.integer({ min: 0, max: 3 }), fc.nat(1000));
    const square = fc
      .integer({ min: 1, max: 5 })
      .chain((n) =>
        fc.array(fc.array(weight, { minLength: n, maxLength: n }), { minLength: n, maxLength: n }),
      );
    fc.assert(
      fc.property(square, (weights) => {
        for (const [i, row] of weights.entries()) row[i] = Math.max(row[i]!, 0);
        expect(assign(weights)).toEqual(exhaustively(weights));
      }),
      { numRuns: 500 },
    );
  });

  it('is exact where weights span twelve orders of magnitude', () => {
    const big = 2 ** 40;
    expect(
      assign([
        [big, big, 0],
        [big, big - 1, 1],
        [0, 1, 1],
      ]),
    ).toEqual([1, 0, 2]);
  });
});
