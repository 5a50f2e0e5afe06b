import { expect, test } from 'vitest';
import { cosineAndSine, exponential, logarithm } from './portable-math.ts';

/** Numbers of all sizes up to `most`, of both signs. */
function spread(most: number): number[] {
  return Array.from({ length: 4001 }, (_, i) => most * ((i - 2000) / 2000) ** 3);
}

test('exponential', () => {
  for (const x of spread(300)) expect(Math.abs(exponential(x) / Math.exp(x) - 1), `${x}`).toBeLessThan(2e-15);
  expect(exponential(0)).toBe(1);
});

test('logarithm', () => {
  for (const x of spread(300).map(Math.exp))
    expect(Math.abs(logarithm(x) - Math.log(x)), `${x}`).toBeLessThan(
      1e-15 * Math.max(1, Math.abs(Math.log(x))),
    );
  expect(logarithm(1)).toBe(0);
});

test('cosine and sine', () => {
  for (const x of spread(2 ** 20)) {
    const [cosine, sine] = cosineAndSine(x);
    expect(Math.abs(cosine - Math.cos(x)), `${x}`).toBeLessThan(1e-15);
    expect(Math.abs(sine - Math.sin(x)), `${x}`).toBeLessThan(1e-15);
  }
  expect(cosineAndSine(0)).toEqual([1, 0]);
});
