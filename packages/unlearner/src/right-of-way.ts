/** An erasure that a slow database holds up longer than this must not hold up answers too. */
const LONGEST_MS = 500;

/**
 * Erasures go first. While one is at work no forward pass and no training step is begun, and a pass that is under way is given up: on a
 * small machine they would take the cores that it needs, and what they computed with the old ensemble would be thrown away. That is all:
 * which ensemble may answer does not depend on it.
 */
export class RightOfWay {
  #holders = 0;
  #cleared: PromiseWithResolvers<void> | null = null;
  #begins = new AbortController();

  /** Aborted when the next section begins. */
  get next(): AbortSignal {
    return this.#begins.signal;
  }

  /** Runs a section that the others wait for. */
  async hold<T>(section: () => Promise<T>): Promise<T> {
    this.#holders++;
    this.#cleared ??= Promise.withResolvers();
    this.#begins.abort();
    this.#begins = new AbortController();
    let holds = true;
    const release = () => {
      if (holds && --this.#holders === 0) {
        this.#cleared?.resolve();
        this.#cleared = null;
      }
      holds = false;
    };
    const limit = setTimeout(release, LONGEST_MS);
    try {
      return await section();
    } finally {
      clearTimeout(limit);
      // In a task of its own: whoever waits for the section hears of it first. An acknowledgement leaves before the work that
      // waited for it takes the thread.
      setTimeout(release, 0);
    }
  }

  /** Resolves when nobody holds it. */
  async clear(): Promise<void> {
    while (this.#cleared) await this.#cleared.promise;
  }
}
