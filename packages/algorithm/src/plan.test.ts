import { describe, expect, it } from 'vitest';
import {
  AlgorithmError,
  deletionRate,
  deletionRateUnderPrior,
  selectSequences,
  uniformPrior,
} from './index.ts';
import { interpolate, PlanError, type PlanOptions, plan, stageSecondsOf } from './plan.ts';

const GENEROUS = {
  storageBytes: 1e9,
  trainSeconds: 1e6,
  recordsPerSlice: 10,
  trainingLoad: 1,
  availability: 0,
  loss: 1,
};

const OPTIONS: PlanOptions = {
  records: 4000,
  erasuresPerDay: 10,
  costs: { layers: 8, layerBytes: 1000, headBytes: 100, secondsPerRecord: [0.01] },
  limits: GENEROUS,
  choices: {
    shards: [1, 3, 5],
    slices: [2, 4, 16],
    budget: [1, 2, 4],
    strategy: ['cyclic'],
    policy: [{ kind: 'at-once' }, { kind: 'exhaustion' }],
  },
  days: 20,
  trials: 1,
  seed: 1,
};

const withLimits = (limits: Partial<PlanOptions['limits']>, more: Partial<PlanOptions> = {}) =>
  plan({ ...OPTIONS, ...more, limits: { ...GENEROUS, ...limits } });

describe('stageSecondsOf', () => {
  it('grows with the records and the layers of a stage', () => {
    expect(stageSecondsOf(4, 100, [0.04])).toEqual([1, 4, 9, 16]);
    // Measured at a half and the whole of the stack.
    const [half, whole] = stageSecondsOf(2, 100, [0.03, 0.04]);
    expect([half, whole]).toEqual([3, 8]);
  });
});

describe('interpolate', () => {
  it('draws straight lines between evenly spaced points', () => {
    const curve = [0, 0.8, 0.9];
    expect([0, 0.25, 0.5, 0.75, 1].map((share) => interpolate(curve, share))).toEqual([
      0,
      0.4,
      0.8,
      expect.closeTo(0.85, 12),
      expect.closeTo(0.9, 12),
    ]);
    expect([interpolate(curve, -1), interpolate(curve, 2)]).toEqual([0, 0.9]);
  });
});

describe('plan', () => {
  it('sizes every shape that is possible', () => {
    const plans = plan(OPTIONS);
    // 2 slices have budgets 1 and 2, 4 slices all three, 16 slices too few layers; 3 numbers of shards, 2 policies.
    expect(plans).toHaveLength((2 + 3) * 3 * 2);
    const found = plans.find(({ shards, slices, budget }) => shards === 5 && slices === 4 && budget === 2)!;
    // 40 stages of 2 layers and a head; 5 shards x 2 sequences x 200 records x (1 + 4 + 9 + 16) / 4 x 10 ms.
    expect(found).toMatchObject({ stages: 40, storageBytes: 40 * 2100, deletionRate: deletionRate(found) });
    expect(found.trainSeconds).toBeCloseTo(150, 9);
  });

  it('prefers what breaks no limit, then fewer shards, then less training', () => {
    const plans = withLimits({ loss: 0.03, availability: 0.999 });
    const good = plans.filter(({ breaks }) => breaks.length === 0);
    expect(good.length).toBeGreaterThan(0);
    expect(plans.slice(0, good.length)).toEqual(good);
    for (const [i, next] of good.slice(1).entries()) {
      const one = good[i]!;
      expect(one.shards).toBeLessThanOrEqual(next.shards);
      if (one.shards === next.shards) {
        expect(one.expected.trainingLoad).toBeLessThanOrEqual(next.expected.trainingLoad);
      }
    }
    const bad = plans.slice(good.length);
    expect(bad.map(({ loss }) => loss)).toEqual(bad.map(({ loss }) => loss).sort((a, b) => a - b));
  });

  it('loses nothing where nothing is erased, and tells accuracy by the curve it is given', () => {
    expect(
      withLimits({}, { erasuresPerDay: 0 }).every(({ loss, expected }) => loss === 0 && expected.value === 1),
    ).toBe(true);
    const curve = [0.1, 0.85, 0.9, 0.92, 0.93];
    for (const { loss, expected } of withLimits({}, { accuracyByDepth: curve })) {
      expect(expected.value).toBeLessThanOrEqual(0.93);
      expect(loss).toBeCloseTo(0.93 - expected.value, 12);
    }
  });

  it('keeps storage, first training and records', () => {
    for (const { storageBytes, trainSeconds, shards, slices } of withLimits({
      storageBytes: 50_000,
      trainSeconds: 100,
      recordsPerSlice: 300,
    })) {
      expect(storageBytes).toBeLessThanOrEqual(50_000);
      expect(trainSeconds).toBeLessThanOrEqual(100);
      expect(shards * slices * 300).toBeLessThanOrEqual(4000);
    }
  });

  it('takes as many slices as the prior has', () => {
    const prior = [0.7, 0.1, 0.1, 0.1];
    const choices = { ...OPTIONS.choices, strategy: ['bms', 'cyclic'] };
    const plans = withLimits({}, { prior, choices });
    expect(plans.every(({ slices }) => slices === 4)).toBe(true);
    // One sequence in one shard: a wait for its first slice, 0 for cyclic rotation.
    const single = plans.filter(({ shards, budget }) => shards === 1 && budget === 1);
    expect(single.find(({ strategy }) => strategy === 'cyclic')!.deletionRate).toBeCloseTo(1 / 0.7, 6);
    expect(single.find(({ strategy }) => strategy === 'bms')!.deletionRate).toBeCloseTo(10, 6);
    const depth = (strategy: string) =>
      plans.find(
        (one) =>
          one.strategy === strategy && one.shards === 5 && one.budget === 1 && one.policy.kind === 'at-once',
      )!.expected.meanDepth;
    // Cyclic rotation starts at slice 0, which goes first; matching ends with it.
    expect(depth('bms')).toBeGreaterThan(depth('cyclic'));
  });

  it('expects no more deletions of sequences that start at the same slice', () => {
    const choices = { ...OPTIONS.choices, shards: [2], slices: [4], budget: [4], strategy: ['random'] };
    const firsts = selectSequences('random', { slices: 4, budget: 4, seed: 3 }).map(([first]) => first!);
    expect(new Set(firsts).size).toBeLessThan(4);
    const [best] = plan({ ...OPTIONS, choices, seed: 3 });
    expect(best!.deletionRate).toBeCloseTo(
      deletionRateUnderPrior({ shards: 2, prior: uniformPrior(4), firsts }),
      9,
    );
  });

  const { costs, choices, limits } = OPTIONS;
  it.each<[Partial<PlanOptions>, string]>([
    [{ costs: { ...costs, secondsPerRecord: [] } }, 'secondsPerRecord needs at least 1 value'],
    [{ costs: { ...costs, secondsPerRecord: [Number.NaN] } }, 'secondsPerRecord must be'],
    [{ costs: { ...costs, layers: 3.5 } }, 'layers must be'],
    [{ costs: { ...costs, layerBytes: -1 } }, 'layerBytes must be'],
    [{ limits: { ...limits, loss: Number.NaN } }, 'loss must be'],
    [{ choices: { ...choices, shards: [0] } }, 'shards must be'],
    [{ choices: { ...choices, policy: [] } }, 'choices.policy leaves nothing'],
  ])('refuses options out of range: %o', (options, message) => {
    expect(() => plan({ ...OPTIONS, ...options })).toThrow(AlgorithmError);
    expect(() => plan({ ...OPTIONS, ...options })).toThrow(message);
  });

  it('says what the nearest shape needs when none fits', () => {
    // The smallest: 1 shard, 2 slices, 1 sequence: 2 stages of 4 layers and a head.
    try {
      withLimits({ storageBytes: 1000 });
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(PlanError);
      const { nearest, missing } = error as PlanError;
      expect(nearest).toMatchObject({ shards: 1, budget: 1 });
      expect(missing).toEqual([{ name: 'storage', value: expect.any(Number), limit: 1000 }]);
    }
    expect(() => plan({ ...OPTIONS, choices: { ...OPTIONS.choices, slices: [16] } })).toThrow(
      'at most the 8 layers',
    );
    const choices = { ...OPTIONS.choices, slices: [2], budget: [3] };
    expect(() => plan({ ...OPTIONS, choices })).toThrow(
      'more than the 2 orders of 2 slices; the nearest valid value is 2',
    );
    expect(() => plan({ ...OPTIONS, records: 0 })).toThrow(AlgorithmError);
    expect(() => withLimits({}, { accuracyByDepth: [1] })).toThrow('at least 2');
  });
});
