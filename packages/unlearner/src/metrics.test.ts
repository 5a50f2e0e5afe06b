import { expect, test } from 'vitest';
import { accuracy, f1, matthews, meanSquaredError, pearson, spearman } from './metrics.ts';

// Worked out by hand: of eight, 3 true and 1 false of class 1, 2 true and 2 false of class 0.
const said = [1, 1, 1, 1, 0, 0, 0, 0];
const was = [1, 1, 1, 0, 0, 0, 1, 1];

test('of two classes', () => {
  expect(accuracy(said, was)).toBe(5 / 8);
  expect(f1(said, was, 2)).toBe(6 / 9);
  // (3 * 2 - 1 * 2) / sqrt(4 * 5 * 3 * 4)
  expect(matthews(said, was)).toBeCloseTo(4 / Math.sqrt(240), 14);
});

test('of several classes', () => {
  const [predicted, expected] = [
    [0, 2, 1, 0, 0, 1],
    [0, 1, 2, 0, 1, 2],
  ];
  expect(accuracy(predicted!, expected!)).toBe(2 / 6);
  // Class 0: 2 * 2 / 5; the others never right.
  expect(f1(predicted!, expected!, 3)).toBeCloseTo(0.8 / 3, 14);
  // c s - sum p t = 12 - (3*2 + 2*2 + 1*2); s^2 - sum p^2 = 36 - 14; s^2 - sum t^2 = 36 - 12.
  expect(matthews(predicted!, expected!)).toBe(0);
  expect(matthews(expected!, expected!)).toBeCloseTo(1, 14);
  // A class that is in neither counts as one that is never right.
  expect(f1([0, 1], [0, 1], 4)).toBe(0.5);
});

test('of numbers', () => {
  const [predicted, expected] = [
    [1, 2, 3, 4],
    [1, 3, 2, 9],
  ];
  expect(meanSquaredError(predicted!, expected!)).toBe(27 / 4);
  // 11.5 and 5 of the deviations' products and squares, 38.75 of the expected.
  expect(pearson(predicted!, expected!)).toBeCloseTo(11.5 / Math.sqrt(5 * 38.75), 14);
  // 1 - 6 * 2 / (4 * 15)
  expect(spearman(predicted!, expected!)).toBeCloseTo(0.8, 14);
  // Equal values share a rank: 0, 1.5, 1.5, 3 against 0, 1, 2, 3.
  expect(spearman([1, 2, 2, 5], [1, 2, 3, 4])).toBeCloseTo(4.5 / Math.sqrt(4.5 * 5), 14);
  expect(pearson([1, 2], [-1e300, 1e300])).toBeCloseTo(1, 12);
});

test('what is undefined says so, and never NaN', () => {
  expect(matthews([0, 0, 0], [0, 1, 0])).toBe(0);
  expect(f1([0, 0], [0, 0], 2)).toBe(0);
  // Three times 0.1 has a mean that is not 0.1.
  expect(pearson([0.1, 0.1, 0.1], [1, 2, 3])).toBeNull();
  expect(spearman([1, 2, 3], [7, 7, 7])).toBeNull();
  expect(() => accuracy([], [])).toThrow('0 answers');
  expect(() => pearson([1], [1, 2])).toThrow('1 answers cannot be held against 2');
});
