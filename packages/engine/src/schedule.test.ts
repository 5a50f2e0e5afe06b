import { expect, test, vi } from 'vitest';
import { learningRateAt, type ScheduleName } from './schedule.ts';

const rates = (schedule: ScheduleName, steps: number, warmup = 0, upTo = steps) =>
  Array.from({ length: upTo }, (_, step) =>
    learningRateAt(step, { schedule, learningRate: 2, steps, warmup }),
  );
const rounded = (values: number[]) => values.map((value) => Math.round(value * 1e6) / 1e6);

test('constant stays', () => {
  expect(rates('constant', 4)).toEqual([2, 2, 2, 2]);
});

test('linear falls from the full rate towards zero, which the step after the last would reach', () => {
  expect(rates('linear', 4)).toEqual([2, 1.5, 1, 0.5]);
});

test('cosine falls slowly, fast, slowly', () => {
  expect(rounded(rates('cosine', 4))).toEqual([2, 1.707107, 1, 0.292893]);
});

test('no schedule asks the runtime for what each rounds in its own way', () => {
  const spies = (['cos', 'pow', 'exp'] as const).map((name) => vi.spyOn(Math, name));
  for (const schedule of ['constant', 'linear', 'cosine', 'polynomial'] as const) rates(schedule, 9, 0.3);
  for (const spy of spies) {
    expect(spy).not.toHaveBeenCalled();
    spy.mockRestore();
  }
});

test('the warm-up rises to the full rate, the rest falls from it', () => {
  expect(rates('linear', 8, 0.5)).toEqual([0.5, 1, 1.5, 2, 2, 1.5, 1, 0.5]);
  expect(rates('constant', 5, 0.4)).toEqual([1, 2, 2, 2, 2]);
});

test('a warm-up of a part of a step counts as one step, as in `transformers`', () => {
  expect(rates('constant', 10, 0.01).slice(0, 2)).toEqual([2, 2]);
  expect(rates('linear', 10, 0.11).slice(0, 3)).toEqual([1, 2, 2]);
});

test('a warm-up over all steps never falls; a single step has the full rate', () => {
  expect(rates('linear', 4, 1)).toEqual([0.5, 1, 1.5, 2]);
  expect(rates('linear', 1)).toEqual([2]);
  expect(rates('cosine', 1)).toEqual([2]);
});

test('past the last step the rate stays where the schedule ends: never negative, never rising', () => {
  expect(rates('linear', 2, 0, 5)).toEqual([2, 1, 0, 0, 0]);
  expect(rounded(rates('cosine', 2, 0, 5))).toEqual([2, 1, 0, 0, 0]);
  expect(rates('constant', 2, 0, 4)).toEqual([2, 2, 2, 2]);
});

test('polynomial falls as a whole power of what is left of the way', () => {
  expect(rates('polynomial', 4)).toEqual([2, 1.125, 0.5, 0.125]);
  const cubed = { schedule: 'polynomial', learningRate: 2, steps: 4, power: 3 } as const;
  expect(learningRateAt(2, cubed)).toBe(0.25);
  expect(learningRateAt(1, { ...cubed, power: 1 })).toBe(1.5);
  expect(() => learningRateAt(1, { ...cubed, power: 1.5 })).toThrow(
    'learningRateAt: power 1.5 is not a whole number of 1 or more',
  );
});
