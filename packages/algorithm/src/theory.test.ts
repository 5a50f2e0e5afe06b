import { describe, expect, it } from 'vitest';
import { AlgorithmError } from './errors.ts';
import { averageEditDistance, selectSequences } from './index.ts';
import {
  deletionRate,
  deletionRateUnderPrior,
  deletionTime,
  expectedRetrainings,
  greatestEditDistance,
  harmonic,
  randomEditDistance,
  retention,
  storageBytes,
} from './theory.ts';

describe('harmonic', () => {
  it('sums the reciprocals', () => {
    expect(harmonic(0)).toBe(0);
    expect(harmonic(4)).toBeCloseTo(25 / 12, 14);
    // ln n + Euler's constant + 1/2n - 1/12n^2
    expect(harmonic(1e6)).toBeCloseTo(Math.log(1e6) + 0.5772156649015329 + 5e-7, 11);
    // By its expansion from here on; and whatever n is, not in n steps.
    expect(harmonic(2 ** 20 + 1) - harmonic(2 ** 20)).toBeCloseTo(1 / (2 ** 20 + 1), 12);
    expect(harmonic(2 ** 52)).toBeCloseTo(52 * Math.LN2 + 0.5772156649015329, 12);
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

describe('deletionRateUnderPrior', () => {
  it('is Lemma 1 where all slices are alike', () => {
    for (const [shards, slices, budget] of [
      [1, 1, 1],
      [5, 4, 2],
      [20, 32, 32],
    ] as const) {
      const firsts = selectSequences('cyclic', { slices, budget }).map(([first]) => first!);
      const rate = deletionRateUnderPrior({ shards, prior: new Array(slices).fill(1 / slices), firsts });
      expect(rate / deletionRate({ shards, slices, budget })).toBeCloseTo(1, 9);
    }
  });

  it('waits 1/p for one slice, and for two 1/p + 1/q - 1/(p + q)', () => {
    const rate = (prior: number[], ...firsts: number[]) =>
      deletionRateUnderPrior({ shards: 1, prior, firsts });
    expect(rate([0.1, 0.9], 0) / 10).toBeCloseTo(1, 9);
    expect(rate([1e-4, 0.5, 0.4999], 0, 1) / (1e4 + 2 - 1 / 0.5001)).toBeCloseTo(1, 9);
    expect(rate([0, 1], 0, 1)).toBe(Infinity);
    expect(() => rate([0.5, 0.5], 2)).toThrow(AlgorithmError);
    expect(() => rate([0.5, 0.5])).toThrow('the number of first slices');
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

describe('greatestEditDistance', () => {
  it('is Lemma 3: L up to B = L, which cyclic rotation reaches, and with every further round', () => {
    for (let slices = 2; slices <= 5; slices++) {
      for (let budget = 2; budget <= slices; budget++)
        expect(greatestEditDistance({ slices, budget })).toBe(slices);
      for (const budget of [2 * slices, slices * (slices - 1)]) {
        if (slices < 4) continue;
        const cyclic = averageEditDistance(selectSequences('cyclic', { slices, budget }));
        expect(cyclic).toBeCloseTo(greatestEditDistance({ slices, budget }), 12);
      }
    }
  });

  it('bounds every choice of sequences, and is what all orders have', () => {
    for (let budget = 1; budget <= 24; budget++) {
      const random = averageEditDistance(selectSequences('random', { slices: 4, budget }));
      expect(random).toBeLessThanOrEqual(greatestEditDistance({ slices: 4, budget }) + 1e-12);
    }
    const all = averageEditDistance(selectSequences('all', { slices: 4, budget: 24 }));
    expect(all).toBeCloseTo(greatestEditDistance({ slices: 4, budget: 24 }), 12);
    // All orders are as far apart as two distinct random ones.
    expect(all).toBeCloseTo(randomEditDistance(4), 12);
    expect([randomEditDistance(1), greatestEditDistance({ slices: 9, budget: 1 })]).toEqual([0, 0]);
  });
});

describe('expectedRetrainings', () => {
  it('is one per deletion where there is one slice, and none before there were enough deletions', () => {
    expect(expectedRetrainings({ shards: 1, slices: 1, budget: 1, deletions: 9 })).toBe(9);
    expect(expectedRetrainings({ shards: 2, slices: 3, budget: 2, deletions: 3 })).toBe(0);
    // The chance that four deletions hit four given cells of six.
    expect(expectedRetrainings({ shards: 2, slices: 3, budget: 2, deletions: 4 })).toBeCloseTo(
      24 / 6 ** 4,
      12,
    );
  });

  it('is about R / delta in the long run', () => {
    const shape = { shards: 5, slices: 4, budget: 4 };
    const many = expectedRetrainings({ ...shape, deletions: 40_000 });
    expect(Math.abs(many - (40_000 / deletionRate(shape) - 0.5))).toBeLessThan(0.1);
  });
});

describe('deletionTime', () => {
  it('is retrainings and deactivations, less for S3T than for SISA than for retraining each time', () => {
    const seconds = { deletions: 1000, retrainSeconds: 600, deactivateSeconds: 0.05 };
    const time = (budget: number) => deletionTime({ shards: 5, slices: 4, budget, ...seconds });
    const retrainings = expectedRetrainings({ shards: 5, slices: 4, budget: 4, deletions: 1000 });
    expect(time(4)).toBeCloseTo(retrainings * 600 + 50, 6);
    // delta 72.0 against 45.7: 1.58 times.
    expect(time(1) / time(4)).toBeGreaterThan(1.55);
    expect((1000 * 600) / time(4)).toBeGreaterThan(70);
    expect(() => deletionTime({ shards: 5, slices: 4, budget: 4, ...seconds, retrainSeconds: -1 })).toThrow(
      AlgorithmError,
    );
  });
});

describe('storageBytes', () => {
  it('is B m stacks and one base', () => {
    expect(storageBytes({ shards: 5, budget: 4, stackBytes: 1_000 })).toBe(20_000);
    expect(storageBytes({ shards: 5, budget: 4, stackBytes: 1_000, baseBytes: 7 })).toBe(20_007);
    expect(() => storageBytes({ shards: 5, budget: 4, stackBytes: -1 })).toThrow(AlgorithmError);
  });
});
