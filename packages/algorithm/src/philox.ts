// Philox-4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011): four random words are a pure
// function of a counter and a key. Nothing has to be remembered, so trial 7 draws the same whether or not trials 0 to 6 ran.
import { AlgorithmError, requireInteger } from './errors.ts';

/** A 64-bit key: low word, high word, each an unsigned 32-bit integer. */
export type PhiloxKey = readonly [low: number, high: number];

const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;
const W0 = 0x9e3779b9;
const W1 = 0xbb67ae85;
const TWO32 = 2 ** 32;

/** High word of the 64-bit product of two unsigned words, from products of their halves: integers only, which compiles to the fastest code. */
function mulHigh(a: number, b: number): number {
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const b0 = b & 0xffff;
  const b1 = b >>> 16;
  const middle = Math.imul(a1, b0) + (Math.imul(a0, b0) >>> 16);
  const other = Math.imul(a0, b1) + (middle & 0xffff);
  return (Math.imul(a1, b1) + (middle >>> 16) + (other >>> 16)) >>> 0;
}

/** The four random words of one counter, all unsigned 32-bit integers. Checked against Random123's known answers. */
export function philox(
  counter: readonly [number, number, number, number],
  key: PhiloxKey,
): [number, number, number, number] {
  const words: [number, number, number, number] = [...counter];
  rounds(words, key[0], key[1]);
  return words;
}

/** The ten rounds, in place: a simulation runs them tens of millions of times. */
function rounds(words: number[] | Uint32Array, key0: number, key1: number): void {
  let c0 = words[0]! >>> 0;
  let c1 = words[1]! >>> 0;
  let c2 = words[2]! >>> 0;
  let c3 = words[3]! >>> 0;
  let k0 = key0 >>> 0;
  let k1 = key1 >>> 0;
  for (let round = 0; round < 10; round++) {
    const high0 = mulHigh(M0, c0);
    const low0 = Math.imul(M0, c0) >>> 0;
    const high1 = mulHigh(M1, c2);
    const low1 = Math.imul(M1, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + W0) >>> 0;
    k1 = (k1 + W1) >>> 0;
  }
  words[0] = c0;
  words[1] = c1;
  words[2] = c2;
  words[3] = c3;
}

/** The key of a seed: its 53 bits as two words. Throws an AlgorithmError unless it is a safe integer of at least 0. */
export function keyFromSeed(seed: number): PhiloxKey {
  requireInteger('seed', seed, 0);
  return [seed % TWO32, Math.floor(seed / TWO32)];
}

/**
 * The words of one key and stream, in order: counter words 0 and 1 count blocks of four, words 2 and 3 are the stream.
 * Different keys or streams are independent; the same ones give the same numbers in every runtime.
 */
export class PhiloxStream {
  readonly #words: Uint32Array = new Uint32Array(4);
  readonly #key: PhiloxKey;
  readonly #stream: readonly [number, number];
  #block = 0;
  #used = 4;

  /** `stream`: two unsigned 32-bit integers, for example trial and use. Throws an AlgorithmError otherwise. */
  constructor(key: PhiloxKey, stream: readonly [number, number] = [0, 0]) {
    for (const word of [...key, ...stream]) requireInteger('a word of key or stream', word, 0, TWO32 - 1);
    this.#key = key;
    this.#stream = stream;
  }

  /** Uniform in [0, 2^32). */
  uint32(): number {
    if (this.#used === 4) this.#refill();
    return this.#words[this.#used++]!;
  }

  /** Uniform in [0, 1): 53 random bits. */
  float(): number {
    const high = this.uint32() >>> 5;
    const low = this.uint32() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }

  /**
   * Uniform in [0, bound), without bias (Lemire, "Fast random integer generation in an interval", 2019). `bound` is an integer from 1 to
   * 2^32; throws an AlgorithmError otherwise.
   */
  below(bound: number): number {
    if (!Number.isInteger(bound) || bound < 1 || bound > TWO32) {
      throw new AlgorithmError(`bound must be an integer from 1 to 2^32, got ${bound}`);
    }
    if (bound === TWO32) return this.uint32();
    let word = this.uint32();
    let low = Math.imul(word, bound) >>> 0;
    if (low < bound) {
      // 2^32 mod bound of the words would be drawn once too often: draw again.
      const surplus = TWO32 % bound;
      while (low < surplus) {
        word = this.uint32();
        low = Math.imul(word, bound) >>> 0;
      }
    }
    return mulHigh(word, bound);
  }

  /** Fisher-Yates, in place: every order equally likely. Returns its argument. */
  shuffle<T>(items: T[]): T[] {
    for (let last = items.length - 1; last > 0; last--) {
      const other = this.below(last + 1);
      [items[last], items[other]] = [items[other]!, items[last]!];
    }
    return items;
  }

  #refill(): void {
    const words = this.#words;
    words[0] = this.#block; // stored modulo 2^32
    words[1] = Math.floor(this.#block / TWO32);
    words[2] = this.#stream[0];
    words[3] = this.#stream[1];
    this.#block++;
    rounds(words, this.#key[0], this.#key[1]);
    this.#used = 0;
  }
}
