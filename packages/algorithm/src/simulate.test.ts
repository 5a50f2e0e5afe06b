import { describe, expect, it } from 'vitest';
import { AlgorithmError } from './errors.ts';
import { ActiveStages, keyFromSeed, PhiloxStream, selectSequences, survivingDepth } from './index.ts';
import {
  simulateDeletionRate,
  simulateDiversity,
  simulateRetention,
  simulateRetrainings,
} from './simulate.ts';
import {
  deletionRate,
  deletionRateUnderPrior,
  expectedRetrainings,
  greatestEditDistance,
  randomEditDistance,
  retention,
} from './theory.ts';

describe('simulateDeletionRate', () => {
  const rate = (
    budget: number,
    more: { shards?: number; trials?: number; seed?: number; prior?: number[] } = {},
  ) =>
    simulateDeletionRate({
      shards: 5,
      slices: 4,
      budget,
      strategy: 'cyclic',
      trials: 20_000,
      seed: 1,
      ...more,
    });

  it.each([1, 2, 4, 24])('comes within 2 %% of Lemma 1, budget %i', (budget) => {
    const theory = deletionRate({ shards: 5, slices: 4, budget });
    expect(Math.abs(rate(budget).mean / theory - 1)).toBeLessThan(0.02);
  });

  it('is the same for the same seed, and another for another', () => {
    expect(rate(2, { trials: 50 })).toEqual(rate(2, { trials: 50 }));
    expect(rate(2, { trials: 50, seed: 2 }).mean).not.toBe(rate(2, { trials: 50 }).mean);
  });

  it('spreads as the coupon collector does', () => {
    // SISA with 1 shard: geometric with p = 1/L, so mean L and deviation sqrt(L (L-1)).
    const { mean, std } = simulateDeletionRate({
      shards: 1,
      slices: 6,
      budget: 1,
      strategy: 'cyclic',
      trials: 20_000,
      seed: 3,
    });
    expect(Math.abs(mean / 6 - 1)).toBeLessThan(0.02);
    expect(Math.abs(std / Math.sqrt(30) - 1)).toBeLessThan(0.04);
    const once = { shards: 1, slices: 1, budget: 1, strategy: 'cyclic', trials: 3, seed: 3 };
    expect(simulateDeletionRate(once)).toEqual({ mean: 1, std: 0, trials: 3 });
  });

  it('gives S3T at least 1.55 times what SISA has', () => {
    expect(rate(4).mean / rate(1).mean).toBeGreaterThan(1.55);
  });

  it('counts what the stages themselves say, deletion by deletion', () => {
    for (const strategy of ['cyclic', 'bms', 'conditional', 'random']) {
      const options = { shards: 3, slices: 4, budget: 3, strategy, trials: 400, seed: 2 };
      const sequences = selectSequences(strategy, options);
      let sum = 0;
      for (let trial = 0; trial < options.trials; trial++) {
        const random = new PhiloxStream(keyFromSeed(2), [trial, 1]);
        const stages = new ActiveStages(3, sequences);
        while (stages.exhausted < 3) {
          const cell = random.below(12);
          stages.erase(Math.floor(cell / 4), cell % 4);
          sum++;
        }
      }
      expect(simulateDeletionRate(options).mean).toBeCloseTo(sum / options.trials, 9);
    }
  });

  it('follows a prior', () => {
    // One shard, one sequence: a wait for slice 0, 1/p deletions long.
    const mean = (prior: number[]) =>
      simulateDeletionRate({
        shards: 1,
        slices: 4,
        budget: 1,
        strategy: 'cyclic',
        trials: 20_000,
        seed: 1,
        prior,
      }).mean;
    expect(Math.abs(mean([0.1, 0.2, 0.3, 0.4]) / 10 - 1)).toBeLessThan(0.03);
    expect(Math.abs(mean([0.5, 0.5, 0, 0]) / 2 - 1)).toBeLessThan(0.03);
    const uniform = rate(4, { prior: [0.25, 0.25, 0.25, 0.25] }).mean;
    expect(Math.abs(uniform / deletionRate({ shards: 5, slices: 4, budget: 4 }) - 1)).toBeLessThan(0.02);
    const steep = [0.6, 0.2, 0.15, 0.05];
    const theory = deletionRateUnderPrior({ shards: 5, prior: steep, firsts: [0, 1, 2, 3] });
    expect(Math.abs(rate(4, { prior: steep }).mean / theory - 1)).toBeLessThan(0.02);
    expect(() => rate(1, { prior: [0, 0.5, 0.5, 0] })).toThrow('slice 0 has prior 0');
  });

  it('refuses trials and shards out of range', () => {
    expect(() => rate(1, { trials: 0 })).toThrow(AlgorithmError);
    expect(() => rate(1, { seed: -1 })).toThrow(AlgorithmError);
    expect(() => rate(1, { shards: 2 ** 45 })).toThrow('the number of slices in all shards must be');
  });
});

describe('simulateRetention', () => {
  /** The probability itself: over all L^r streams of deletions. */
  function exactly(
    strategy: string,
    slices: number,
    budget: number,
    depth: number,
    deletions: number,
  ): number {
    const sequences = selectSequences(strategy, { slices, budget });
    let kept = 0;
    for (let stream = 0; stream < slices ** deletions; stream++) {
      const erased = new Set<number>();
      for (let i = 0; i < deletions; i++) erased.add(Math.floor(stream / slices ** i) % slices);
      if (sequences.some((sequence) => survivingDepth(sequence, erased) >= depth)) kept++;
    }
    return kept / slices ** deletions;
  }

  it.each<[string, number, number, number, number]>([
    ['cyclic', 4, 1, 2, 3],
    ['cyclic', 4, 2, 1, 4],
    ['cyclic', 4, 4, 3, 2],
    ['cyclic', 5, 3, 2, 4],
    ['all', 4, 24, 2, 3],
  ])('agrees with counting: %s, %i slices, budget %i, depth %i, %i deletions', (name, L, B, k, r) => {
    const options = { slices: L, budget: B, depth: k, deletions: r };
    const { probability, error } = simulateRetention({ ...options, strategy: name, trials: 20_000, seed: 1 });
    expect(Math.abs(probability - exactly(name, L, B, k, r))).toBeLessThan(4 * error);
  });

  it('shows where Lemma 2 holds: exact for SISA, below cyclic at B = L = 4, far above every order', () => {
    for (const [depth, deletions] of [
      [1, 5],
      [2, 3],
      [3, 2],
    ] as const) {
      const lemma = (budget: number) => retention({ slices: 4, budget, depth, deletions });
      expect(exactly('cyclic', 4, 1, depth, deletions)).toBeCloseTo(lemma(1), 14);
      expect(exactly('cyclic', 4, 4, depth, deletions)).toBeGreaterThan(lemma(4));
    }
    expect(exactly('all', 4, 24, 2, 3)).toBe(0.625);
    expect(retention({ slices: 4, budget: 24, depth: 2, deletions: 3 })).toBeCloseTo(0.799, 3);
  });

  it('is certain before deletions, and refuses a depth beyond the slices', () => {
    const options = { slices: 3, budget: 1, strategy: 'cyclic', trials: 10, seed: 1 };
    expect(simulateRetention({ ...options, depth: 3, deletions: 0 }).probability).toBe(1);
    expect(simulateRetention({ ...options, depth: 3, deletions: 1 }).probability).toBe(0);
    expect(() => simulateRetention({ ...options, depth: 4, deletions: 0 })).toThrow(AlgorithmError);
  });
});

describe('simulateRetrainings', () => {
  it.each([0, 30, 1000])(
    'comes as close to expectedRetrainings as chance lets it: %i deletions',
    (deletions) => {
      for (const budget of [1, 4]) {
        const options = { shards: 5, slices: 4, budget, deletions };
        const { mean, std, trials } = simulateRetrainings({
          ...options,
          strategy: 'cyclic',
          trials: 2000,
          seed: 1,
        });
        expect(Math.abs(mean - expectedRetrainings(options))).toBeLessThanOrEqual(
          (4 * std) / Math.sqrt(trials) + 1e-9,
        );
      }
    },
  );
});

describe('simulateDiversity', () => {
  const diversity = (strategy: string, budget = 4) =>
    simulateDiversity({ slices: 4, budget, strategy, trials: 500, seed: 1 });

  it('finds the bound of Lemma 3 where it is reached, and less where sequences are drawn', () => {
    for (const strategy of ['cyclic', 'bms'])
      expect(diversity(strategy)).toEqual({ mean: 4, std: 0, trials: 500 });
    const { mean, std } = diversity('random');
    expect(Math.abs(mean - randomEditDistance(4))).toBeLessThan((4 * std) / Math.sqrt(500));
    expect(mean).toBeLessThan(greatestEditDistance({ slices: 4, budget: 4 }));
  });
});
