import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AlgorithmError } from './errors.ts';
import { keyFromSeed, PhiloxStream, philox } from './philox.ts';

const ones = 0xffffffff;

function chiSquare(counts: readonly number[]): number {
  const expected = counts.reduce((sum, n) => sum + n, 0) / counts.length;
  return counts.reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0);
}

describe('philox', () => {
  it("gives Random123's known answers", () => {
    const hex = (words: number[]) => words.map((word) => word.toString(16).padStart(8, '0')).join(' ');
    expect(hex(philox([0, 0, 0, 0], [0, 0]))).toBe('6627e8d5 e169c58d bc57ac4c 9b00dbd8');
    expect(hex(philox([ones, ones, ones, ones], [ones, ones]))).toBe('408f276d 41c83b0e a20bc7c6 6d5451fd');
    expect(hex(philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]))).toBe(
      'd16cfe09 94fdcceb 5001e420 24126ea1',
    );
  });

  it('agrees with 64-bit arithmetic for any counter and key', () => {
    const word = fc.nat({ max: ones });
    fc.assert(
      fc.property(fc.tuple(word, word, word, word), fc.tuple(word, word), (counter, key) => {
        expect(philox(counter, key)).toEqual(reference(counter, key));
      }),
    );
  });
});

/** The rounds as the paper writes them, with big integers. */
function reference(counter: readonly number[], key: readonly number[]): number[] {
  let [a, b, c, d] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
  let [k, l] = key.map(BigInt) as [bigint, bigint];
  for (let round = 0; round < 10; round++) {
    const p = 0xd2511f53n * a;
    const q = 0xcd9e8d57n * c;
    [a, b, c, d] = [(q >> 32n) ^ b ^ k, q & 0xffffffffn, (p >> 32n) ^ d ^ l, p & 0xffffffffn];
    k = (k + 0x9e3779b9n) & 0xffffffffn;
    l = (l + 0xbb67ae85n) & 0xffffffffn;
  }
  return [a, b, c, d].map(Number);
}

describe('PhiloxStream', () => {
  it('reads the blocks of its key and stream in order', () => {
    const random = new PhiloxStream([5, 6], [7, 8]);
    const words = Array.from({ length: 12 }, () => random.uint32());
    expect(words).toEqual([0, 1, 2].flatMap((block) => philox([block, 0, 7, 8], [5, 6])));
  });

  it('draws floats in [0, 1) with mean 1/2 and 53 bits', () => {
    const random = new PhiloxStream(keyFromSeed(1));
    const floats = Array.from({ length: 10_000 }, () => random.float());
    expect(Math.max(...floats)).toBeLessThan(1);
    expect(Math.min(...floats)).toBeGreaterThanOrEqual(0);
    const mean = floats.reduce((sum, x) => sum + x, 0) / floats.length;
    // Its standard deviation is 0.0029.
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.009);
    expect(floats.filter((x) => (x * 2 ** 53) % 2 === 1).length).toBeGreaterThan(4_500);
  });

  it.each([1, 2, 6, 7, 1000])('draws below %i evenly', (bound) => {
    const random = new PhiloxStream(keyFromSeed(bound));
    const counts = new Array<number>(bound).fill(0);
    for (let i = 0; i < 20_000; i++) counts[random.below(bound)]!++;
    const freedom = bound - 1;
    expect(chiSquare(counts)).toBeLessThanOrEqual(freedom + 4.5 * Math.sqrt(2 * freedom) + 4);
  });

  it('draws without bias where multiplying alone would favour a third of the numbers', () => {
    const random = new PhiloxStream(keyFromSeed(3));
    const counts = [0, 0, 0];
    for (let i = 0; i < 9_000; i++) counts[random.below(3 * 2 ** 30) % 3]!++;
    expect(chiSquare(counts)).toBeLessThan(13.8);
  });

  it('draws below 2^32 what uint32 gives, and refuses other bounds', () => {
    expect(new PhiloxStream([1, 2]).below(2 ** 32)).toBe(new PhiloxStream([1, 2]).uint32());
    for (const bound of [0, -1, 1.5, 2 ** 32 + 1, Number.NaN]) {
      expect(() => new PhiloxStream([1, 2]).below(bound)).toThrow(AlgorithmError);
    }
  });

  it('shuffles into every order equally often', () => {
    const random = new PhiloxStream(keyFromSeed(4));
    const orders = new Map<string, number>();
    for (let i = 0; i < 12_000; i++) {
      const order = random.shuffle([0, 1, 2, 3]).join('');
      orders.set(order, (orders.get(order) ?? 0) + 1);
    }
    expect(orders.size).toBe(24);
    // 23 degrees of freedom: above 49.7 once in a thousand.
    expect(chiSquare([...orders.values()])).toBeLessThan(49.7);
  });

  it('takes keys from seeds, and refuses others', () => {
    expect(keyFromSeed(2 ** 32 + 5)).toEqual([5, 1]);
    expect(keyFromSeed(Number.MAX_SAFE_INTEGER)).toEqual([ones, 2 ** 21 - 1]);
    expect(() => keyFromSeed(-1)).toThrow(AlgorithmError);
    expect(() => keyFromSeed(0.5)).toThrow(AlgorithmError);
    expect(() => new PhiloxStream([0, 2 ** 32])).toThrow(AlgorithmError);
    expect(() => new PhiloxStream([0, 0], [-1, 0])).toThrow(AlgorithmError);
  });
});
