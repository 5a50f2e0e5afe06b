/** A 64-bit key as two words: everything random in one stage shares one. */
export type RandomKey = readonly [low: number, high: number];

const MULTIPLIERS = [0xd2511f53, 0xcd9e8d57] as const;
const WEYL = [0x9e3779b9, 0xbb67ae85] as const;

/** The upper word of a product, from halves of words: every sum is exact in a float64. */
function high(a: number, b: number): number {
  const [aLow, aHigh, bLow, bHigh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const other = aLow * bHigh + (middle & 0xffff);
  return aHigh * bHigh + Math.floor(middle / 65_536) + Math.floor(other / 65_536);
}

/**
 * Philox-4x32-10 (Salmon et al. 2011): four random words from a counter and a key, the same as the kernels draw.
 */
export function philox(
  counter: readonly [number, number, number, number],
  key: RandomKey,
): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const [high0, low0] = [high(MULTIPLIERS[0], c0), Math.imul(MULTIPLIERS[0], c0) >>> 0];
    const [high1, low1] = [high(MULTIPLIERS[1], c2), Math.imul(MULTIPLIERS[1], c2) >>> 0];
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    k0 = (k0 + WEYL[0]) >>> 0;
    k1 = (k1 + WEYL[1]) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** `count` numbers in [-bound, bound), from 24 bits each, so that every runtime rounds them alike. */
export function uniformValues(
  count: number,
  bound: number,
  key: RandomKey,
  stream: number,
): Float32Array<ArrayBuffer> {
  const values = new Float32Array(count);
  for (let i = 0; i < count; i += 4) {
    const words = philox([i / 4, 0, stream, 1], key);
    for (let j = 0; j < 4 && i + j < count; j++) values[i + j] = ((words[j]! >>> 8) / 2 ** 23 - 1) * bound;
  }
  return values;
}
