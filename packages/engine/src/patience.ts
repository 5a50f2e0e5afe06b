/** Work that is submitted again and again, and how long it usually takes, in milliseconds: 0 while that is not known. */
export interface Recurring {
  typicalMs: number;
  /** How often it was timed. */
  timed: number;
}

/** The part of the expected time that is slept through; the rest is left to the runtime's own waiting. */
const SLEEP = 0.8;
/** Shorter naps than this are not worth a timer. */
const SHORTEST_MS = 2;
/** And a wrong guess must not cost more than this. */
const LONGEST_MS = 150;

/**
 * Sleeps through most of the time that submitted work is known to take. While a promise of the device is pending, Dawn in
 * Node asks for it again and again (see dawn-ticks.ts), which on a software adapter takes time from the cores that do the work.
 */
export class Patience {
  /** In the order in which the device does it. */
  #outstanding: Recurring[] = [];
  /** How much came before. */
  #before = 0;
  /** When the device began with the first that is outstanding. */
  #began = 0;

  submitted(work: Recurring): void {
    if (this.#outstanding.length === 0) this.#began = performance.now();
    this.#outstanding.push(work);
  }

  /**
   * Resolves shortly before all that is outstanding now should be done, with what takes note that it is. More may be submitted meanwhile.
   */
  async sleep(): Promise<() => void> {
    const upTo = this.#before + this.#outstanding.length;
    const expected = this.#outstanding.reduce((sum, { typicalMs }) => sum + typicalMs, 0);
    const left = SLEEP * expected - (performance.now() - this.#began);
    if (left >= SHORTEST_MS) await new Promise((resolve) => setTimeout(resolve, Math.min(left, LONGEST_MS)));
    return () => this.#finished(upTo);
  }

  /** Forgets what is outstanding: not all of it will be done. */
  interrupted(): void {
    this.#take(this.#outstanding.length);
  }

  #finished(upTo: number): void {
    const works = this.#take(upTo - this.#before);
    const [first] = works;
    if (!first) return;
    const now = performance.now();
    if (works.every((work) => work === first)) {
      const each = (now - this.#began) / works.length;
      // The first round compiles kernels: it says nothing about the next. Then down at once and up slowly: one slow round must
      // not make the others oversleep.
      first.timed++;
      if (first.timed === 2) first.typicalMs = each;
      else if (first.timed > 2) first.typicalMs = Math.min(each, first.typicalMs * 1.2);
    }
    this.#began = now;
  }

  #take(count: number): Recurring[] {
    const taken = this.#outstanding.splice(0, Math.max(0, count));
    this.#before += taken.length;
    return taken;
  }
}
