import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AlgorithmError } from './errors.ts';
import { selectSequences } from './index.ts';
import { estimatePrior, reserveSlices } from './prior.ts';

const sumOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0);

describe('estimatePrior', () => {
  it('is the smoothed share of the erasures', () => {
    expect(estimatePrior([7, 0, 1])).toEqual([7.5 / 9.5, 0.5 / 9.5, 1.5 / 9.5]);
    expect(estimatePrior([1, 0], 1)).toEqual([2 / 3, 1 / 3]);
    expect(estimatePrior([0, 0, 0, 0])).toEqual([0.25, 0.25, 0.25, 0.25]);
  });

  it('is a prior that every strategy takes, without a 0', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1e6), { minLength: 1, maxLength: 6 }), (counts) => {
        const prior = estimatePrior(counts);
        expect(Math.min(...prior)).toBeGreaterThan(0);
        expect(selectSequences('bms', { slices: counts.length, budget: 1, prior })).toHaveLength(1);
      }),
    );
  });

  it('refuses what is no count', () => {
    expect(() => estimatePrior([])).toThrow(AlgorithmError);
    expect(() => estimatePrior([1, -1])).toThrow('erasures[1] must be an integer of at least 0, got -1');
    expect(() => estimatePrior([1], 0)).toThrow('smoothing');
  });
});

describe('reserveSlices', () => {
  it('gives the class most likely to be erased the last slices, and as many as its records fill', () => {
    const classes = [
      { name: 'trial', records: 100, erasures: 60 },
      { name: 'staff', records: 500, erasures: 10 },
      { name: 'customers', records: 400, erasures: 30 },
    ];
    expect(reserveSlices({ slices: 8, classes })).toEqual({
      // 5 slices to share out beside one each: 2.5, 2 and 0.5; the odd one goes to the earlier of the two halves.
      open: { staff: [0, 1, 2, 3], customers: [4, 5, 6], trial: [7] },
      prior: [0.025, 0.025, 0.025, 0.025, 0.1, 0.1, 0.1, 0.6],
    });
  });

  it('uses every slice once, and yields a prior', () => {
    const one = fc.record({ records: fc.integer({ min: 1, max: 999 }), erasures: fc.nat(99) });
    fc.assert(
      fc.property(fc.array(one, { minLength: 1, maxLength: 6 }), fc.nat(10), (sizes, spare) => {
        fc.pre(sizes.some(({ erasures }) => erasures > 0));
        const classes = sizes.map((size, i) => ({ name: `class ${i}`, ...size }));
        const slices = classes.length + spare;
        const { open, prior } = reserveSlices({ slices, classes });
        expect(
          Object.values(open)
            .flat()
            .sort((a, b) => a - b),
        ).toEqual(Array.from({ length: slices }, (_, i) => i));
        expect(Object.values(open).every((own) => own.length > 0)).toBe(true);
        expect(sumOf(prior)).toBeCloseTo(1, 9);
        for (const { name, erasures } of classes) {
          const own = sumOf(open[name]!.map((slice) => prior[slice]!));
          expect(own).toBeCloseTo(erasures / sumOf(sizes.map((size) => size.erasures)), 9);
        }
      }),
    );
  });

  it.each([
    [
      {
        slices: 1,
        classes: [
          { name: 'a', records: 1, erasures: 1 },
          { name: 'b', records: 1, erasures: 1 },
        ],
      },
      'classes must be from 1 to 1',
    ],
    [{ slices: 2, classes: [{ name: 'a', records: 0, erasures: 1 }] }, 'records of a'],
    [{ slices: 2, classes: [{ name: 'a', records: 1, erasures: 0 }] }, 'no class has any erasures'],
    [
      {
        slices: 2,
        classes: [
          { name: 'a', records: 1, erasures: 1 },
          { name: 'a', records: 1, erasures: 1 },
        ],
      },
      'the same name',
    ],
  ])('refuses %j', (options, message) => {
    expect(() => reserveSlices(options)).toThrow(AlgorithmError);
    expect(() => reserveSlices(options)).toThrow(message);
  });
});
