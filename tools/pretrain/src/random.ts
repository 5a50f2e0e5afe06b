/**
 * A counter-based generator: draw `n` of stream (seed, index) is a hash of the three numbers alone, so image i of a data set is
 * the same whoever renders it, in whatever order. (Same idea as Philox; this one is ten lines, and statistics is all we need of it.)
 */
export class Random {
  readonly #key: number;
  #counter = 0;

  constructor(seed: number, index: number) {
    this.#key = mix(mix(seed >>> 0) ^ Math.imul(index + 1, 0x9e3779b1));
  }

  /** In [0, 1). */
  uniform(): number {
    const n = this.#counter++;
    return mix(this.#key ^ mix(Math.imul(n + 1, 0x85ebca6b) ^ (this.#key >>> 7))) / 2 ** 32;
  }

  /** In [low, high). */
  between(low: number, high: number): number {
    return low + (high - low) * this.uniform();
  }

  /** An integer in [0, n). */
  below(n: number): number {
    return Math.floor(this.uniform() * n);
  }

  chance(probability: number): boolean {
    return this.uniform() < probability;
  }

  /** Standard normal, cut at 2.5 so that no glyph is torn apart. */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    const value = radius * Math.cos(2 * Math.PI * this.uniform());
    return Math.max(-2.5, Math.min(2.5, value));
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }
}

/** The 32-bit finaliser of MurmurHash3 with the constants of Ettinger's "lowbias32". */
export function mix(value: number): number {
  let x = value | 0;
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
  return (x ^ (x >>> 15)) >>> 0;
}
