import type { ErasurePhases } from './types.ts';

/** Takes the times of an erasure's phases. */
export class PhaseTimes {
  readonly #times: ErasurePhases = {};

  /** Those that have ended, whether well or not. */
  get all(): ErasurePhases {
    return this.#times;
  }

  /** Calls `work` at once, and notes when it began and when what it promises was settled. */
  async measure<T>(phase: keyof ErasurePhases, work: () => Promise<T>): Promise<T> {
    const start = now();
    try {
      return await work();
    } finally {
      this.#times[phase] = [start, now()];
    }
  }
}

/** Milliseconds since 1970 with fractions. Unlike the clock they never go back. */
function now(): number {
  return performance.timeOrigin + performance.now();
}
