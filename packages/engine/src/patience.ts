/** Work that is submitted again and again, and how long it usually takes, in milliseconds. */
export interface Recurring {
  typicalMs: number;
}

/** The part of the expected time that is slept through; the rest is left to the runtime's own waiting. */
const SLEEP = 0.8;
/** Shorter naps than this are not worth a timer. */
const SHORTEST_MS = 2;

/**
 * Sleeps through most of the time that submitted work is known to take. While a promise of the device is pending, Dawn in
 * Node asks for it in a busy loop, which on a software adapter takes the core that should do the work.
 */
export class Patience {
  #outstanding: Recurring[] = [];
  #began = 0;

  submitted(work: Recurring): void {
    if (this.#outstanding.length === 0) this.#began = performance.now();
    this.#outstanding.push(work);
  }

  /** Resolves shortly before what is outstanding should be done. */
  async sleep(): Promise<void> {
    const expected = this.#outstanding.reduce((sum, { typicalMs }) => sum + typicalMs, 0);
    const left = SLEEP * expected - (performance.now() - this.#began);
    if (left >= SHORTEST_MS) await new Promise((resolve) => setTimeout(resolve, left));
  }

  /** Takes note that nothing is outstanding any more. */
  finished(): void {
    const [first] = this.#outstanding;
    if (first && this.#outstanding.every((work) => work === first)) {
      const each = (performance.now() - this.#began) / this.#outstanding.length;
      // Down at once, up slowly: one slow round must not make the next ones oversleep.
      first.typicalMs = first.typicalMs === 0 ? each : Math.min(each, first.typicalMs * 1.2);
    }
    this.#outstanding = [];
  }
}
