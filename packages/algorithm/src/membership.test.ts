import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { lira, logitConfidence, membershipReport } from './membership.ts';
import { keyFromSeed, PhiloxStream } from './philox.ts';

test('the confidence is the log odds of the softmax, also where it rounds to 1', () => {
  const logits = fc.array(fc.double({ min: -8, max: 8, noNaN: true }), { minLength: 2, maxLength: 6 });
  fc.assert(
    fc.property(logits, fc.nat(), (values, at) => {
      const label = at % values.length;
      const weights = values.map(Math.exp);
      const rest = weights.reduce((sum, weight, i) => (i === label ? sum : sum + weight), 0);
      expect(logitConfidence(values, label)).toBeCloseTo(Math.log(weights[label]! / rest), 9);
    }),
  );
  expect(logitConfidence([500, 0, 0], 0)).toBeCloseTo(500 - Math.log(2), 9);
  expect(() => logitConfidence([1, 2], 2)).toThrow('label must be an integer from 0 to 1');
});

describe('lira', () => {
  test('counts standard deviations above what shadow models are, by one spread for all', () => {
    // Within the lists the squares are 2 + 8, with 2 degrees of freedom: a variance of 5.
    const scores = lira([
      { observed: 4, outside: [-1, 1] },
      { observed: 10, outside: [8, 12] },
    ]);
    expect(scores[0]).toBeCloseTo(4 / Math.sqrt(5 * 1.5));
    expect(scores[1]).toBe(0);
  });

  test('refuses what it cannot go by', () => {
    expect(() => lira([{ observed: 1, outside: [] }])).toThrow('needs shadow models');
    expect(() => lira([{ observed: 1, outside: [2] }])).toThrow('no spread');
    expect(() => lira([{ observed: Number.NaN, outside: [2, 3] }])).toThrow('confidence must be');
  });
});

describe('the report', () => {
  const of = (members: readonly number[], others: readonly number[]) => {
    const trials = [...members.map(() => true), ...others.map(() => false)].map((isMember, group) => ({
      isMember,
      group,
    }));
    return membershipReport(trials, [...members, ...others], { fpr: 0.25, resamples: 50 });
  };

  test('the area is the share of pairs in which the member has the higher score, ties by half', () => {
    const scores = fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(scores, scores, (members, others) => {
        const pairs = members.flatMap((a) => others.map((b) => (a > b ? 1 : a === b ? 0.5 : 0)));
        const { auc, tpr, curve } = of(members, others);
        expect(auc.value).toBeCloseTo(pairs.reduce((sum: number, pair) => sum + pair, 0) / pairs.length, 9);
        // The best threshold that takes at most a quarter of the others for members.
        const rates = [...members, Infinity].map((least) => ({
          wrong: others.filter((score) => score >= least).length / others.length,
          found: members.filter((score) => score >= least).length / members.length,
        }));
        const best = Math.max(...rates.filter(({ wrong }) => wrong <= 0.25).map(({ found }) => found));
        expect(tpr.value).toBeCloseTo(best, 9);
        expect([curve[0], curve.at(-1)]).toEqual([
          [0, 0],
          [1, 1],
        ]);
      }),
    );
  });

  test('its interval covers what is so about nineteen times of twenty, and is wider for trials of few records', () => {
    const random = new PhiloxStream(keyFromSeed(5));
    // Uniform scores, members shifted by 0.2: the area is 1 - 0.8^2 / 2.
    const truth = 1 - 0.8 ** 2 / 2;
    const draw = (n: number, shift: number) => Array.from({ length: n }, () => random.float() + shift);
    const covered = Array.from({ length: 100 }, () => {
      const [members, others] = [draw(60, 0.2), draw(60, 0)];
      const trials = [...members, ...others].map((_, group) => ({ isMember: group < 60, group }));
      const { auc } = membershipReport(trials, [...members, ...others], { resamples: 120 });
      return auc.low <= truth && truth <= auc.high;
    }).filter(Boolean).length;
    expect(covered).toBeGreaterThanOrEqual(88);
    const [few, many] = [10, 40].map((groups) => {
      const scores = [...draw(40, 0.2), ...draw(40, 0)];
      const trials = scores.map((_, i) => ({ isMember: i < 40, group: i % groups }));
      // The same trials, in fewer groups of equal ones.
      const repeated = scores.map((_, i) => scores[(i < 40 ? 0 : 40) + (i % groups)]!);
      const { auc } = membershipReport(trials, repeated);
      return auc.high - auc.low;
    });
    expect(few!).toBeGreaterThan(many!);
  });

  test('is the same for the same seed, and needs both kinds', () => {
    expect(of([3, 2], [1, 2])).toEqual(of([3, 2], [1, 2]));
    expect(() => of([1], [])).toThrow('there are 1 and 0');
    expect(() => of([1], [Number.NaN])).toThrow('scores[1] must be a number, got NaN');
  });
});
