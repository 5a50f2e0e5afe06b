import { describe, expect, it } from 'vitest';
import { AlgorithmError, deletionRate, selectSequences } from './index.ts';
import { type RepairOptions, simulateRepair } from './simulate-repair.ts';

const repair = (more: Partial<RepairOptions> = {}) =>
  simulateRepair({
    shards: 5,
    sequences: selectSequences('cyclic', { slices: 4, budget: 2 }),
    policy: { kind: 'at-once' },
    stageSeconds: [600, 1200, 1800, 2400],
    erasuresPerDay: 20,
    days: 30,
    trials: 4,
    seed: 1,
    ...more,
  });

describe('simulateRepair', () => {
  it('serves everything where nothing is erased', () => {
    expect(repair({ erasuresPerDay: 0, value: (depth) => depth / 4 })).toMatchObject({
      erasures: 0,
      meanDepth: 4,
      availability: 1,
      completeness: 1,
      value: 1,
      trainingLoad: 0,
      stagesTrained: 0,
      repairs: 0,
    });
  });

  it('serves everything always when repair at once takes no time', () => {
    const { meanDepth, availability, depthOverTime, repairs, erasures, trainingLoad } = repair({
      stageSeconds: [0, 0, 0, 0],
    });
    expect([availability, trainingLoad]).toEqual([1, 0]);
    expect(meanDepth).toBe(4);
    expect(depthOverTime.every(({ depth }) => depth === 4)).toBe(true);
    expect(repairs).toBe(erasures);
  });

  it.each([1, 2, 4])(
    'budget %i, on exhaustion, free of charge: repairs after the deletions that Lemma 1 expects',
    (budget) => {
      const { erasuresPerRepair, repairs, stagesTrained } = repair({
        sequences: selectSequences('cyclic', { slices: 4, budget }),
        policy: { kind: 'exhaustion' },
        stageSeconds: [0, 0, 0, 0],
        erasuresPerDay: 10_000,
        trials: 2,
      });
      expect(Math.abs(erasuresPerRepair / deletionRate({ shards: 5, slices: 4, budget }) - 1)).toBeLessThan(
        0.02,
      );
      // Nothing was left: all of it is trained again.
      expect(stagesTrained).toBeCloseTo(repairs * 5 * 4 * budget, 6);
    },
  );

  it('is a queue of one server: one slice and one stage serve e^(-rate x time) of the time', () => {
    // Down from an erasure until a whole training without another: (e^(rate time) - 1) / rate on average, up for 1 / rate.
    const { availability, meanDepth, trainingLoad } = repair({
      shards: 1,
      sequences: [[0]],
      stageSeconds: [3600],
      erasuresPerDay: 24,
      days: 2000,
    });
    expect(Math.abs(availability - Math.exp(-1))).toBeLessThan(0.01);
    expect(meanDepth).toBeCloseTo(availability, 9);
    expect(trainingLoad).toBeCloseTo(1 - availability, 9);
  });

  it('begins a batch with the n-th erasure, or so many hours after the first', () => {
    const free = { stageSeconds: [0, 0, 0, 0], days: 300 };
    expect(repair({ ...free, policy: { kind: 'batch', count: 7 } }).erasuresPerRepair).toBe(7);
    // The first, and those of the next 6 hours at 20 a day.
    const timed = repair({ ...free, policy: { kind: 'batch', minutes: 360 } }).erasuresPerRepair;
    expect(Math.abs(timed / 6 - 1)).toBeLessThan(0.03);
    const first = repair({ ...free, policy: { kind: 'batch', count: 2, minutes: 6e7 } });
    expect(first.erasuresPerRepair).toBe(2);
  });

  it('serves less the longer repair waits, and trains less', () => {
    const [atOnce, daily, last] = (
      [{ kind: 'at-once' }, { kind: 'batch', minutes: 2880 }, { kind: 'exhaustion' }] as const
    ).map((policy) => repair({ policy, days: 100 }));
    expect(atOnce!.meanDepth).toBeGreaterThan(daily!.meanDepth);
    expect(daily!.meanDepth).toBeGreaterThan(last!.meanDepth);
    expect(atOnce!.stagesTrained).toBeGreaterThan(daily!.stagesTrained);
    expect(daily!.trainingLoad).toBeGreaterThan(last!.trainingLoad);
    expect(last!.availability).toBeLessThan(1);
  });

  it('never catches up with more work than time', () => {
    const { trainingLoad, meanDepth } = repair({ stageSeconds: [1e6, 1e6, 1e6, 1e6], days: 300 });
    expect(trainingLoad).toBeGreaterThan(0.99);
    expect(meanDepth).toBeLessThan(0.2);
  });

  it('averages the same depth over its samples as over time', () => {
    const { meanDepth, depthOverTime } = repair({ trials: 200, samples: 60 });
    const mean = depthOverTime.reduce((sum, { depth }) => sum + depth, 0) / 60;
    expect(depthOverTime.map(({ day }) => day).slice(0, 2)).toEqual([0.25, 0.75]);
    expect(Math.abs(mean - meanDepth)).toBeLessThan(0.02);
  });

  it('follows a prior: slices that come late in the sequence cost little', () => {
    const sequences = selectSequences('cyclic', { slices: 4, budget: 1 });
    const depth = (prior: number[]) => repair({ sequences, prior }).meanDepth;
    expect(depth([0, 0, 0, 1])).toBeGreaterThan(depth([1, 0, 0, 0]));
    expect(repair({ sequences, prior: [0, 0, 0, 1] }).availability).toBe(1);
  });

  it('is the same for the same seed, and another for another', () => {
    expect(repair()).toEqual(repair());
    expect(repair({ seed: 2 }).meanDepth).not.toBe(repair().meanDepth);
  });

  it.each<[Partial<RepairOptions>, string]>([
    [{ erasuresPerDay: -1 }, 'erasuresPerDay must be a number of at least 0, got -1'],
    [{ days: 0 }, 'days must be a number above 0, got 0'],
    [{ trials: 0 }, 'trials'],
    [{ stageSeconds: [1] }, 'one value per position: 4, got 1'],
    [{ stageSeconds: [1, 1, 1, Number.NaN] }, 'stageSeconds'],
    [{ prior: [0.5, 0.5] }, 'prior must have one probability per slice'],
    [{ policy: { kind: 'batch' } }, 'a batch policy needs a count or minutes'],
    [{ policy: { kind: 'batch', count: 0 } }, 'count'],
  ])('refuses %o', (change, message) => {
    expect(() => repair(change)).toThrow(AlgorithmError);
    expect(() => repair(change)).toThrow(message);
  });
});
