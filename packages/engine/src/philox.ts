/** A 64-bit key as two words: everything random in one stage shares one. */
export type RandomKey = readonly [low: number, high: number];

const [M0, M1] = [0xd2511f53, 0xcd9e8d57];
const [W0, W1] = [0x9e3779b9, 0xbb67ae85];

/** The upper word of a product, from halves of words: in integers alone, which compile to the fastest code. */
function high(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = Math.imul(aHigh, bLow) + (Math.imul(aLow, bLow) >>> 16);
  const other = Math.imul(aLow, bHigh) + (middle & 0xffff);
  return Math.imul(aHigh, bHigh) + (middle >>> 16) + (other >>> 16);
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
    const high0 = high(M0, c0);
    const low0 = Math.imul(M0, c0);
    const high1 = high(M1, c2);
    const low1 = Math.imul(M1, c2);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 = (k0 + W0) | 0;
    k1 = (k1 + W1) | 0;
  }
  return [c0 >>> 0, c1 >>> 0, c2 >>> 0, c3 >>> 0];
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
