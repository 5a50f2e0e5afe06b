/** Trainings whose parameters lie on the device: of those that an erasure has stopped it waits for the end. */
export class Trainings {
  readonly #underWay: Set<Promise<unknown>> = new Set();
  #stopped: Promise<unknown> = Promise.resolve();

  /** Runs what trains stages and leaves nothing of them on the device, however it ends. */
  async run<T>(section: () => Promise<T>): Promise<T> {
    const training = section();
    this.#underWay.add(training);
    try {
      return await training;
    } finally {
      this.#underWay.delete(training);
    }
  }

  /** Takes note that those under way were stopped. */
  stop(): void {
    this.#stopped = Promise.allSettled(this.#underWay);
  }

  /** Resolves when what was stopped so far was zeroed in the queue of the device. It waits for nothing that waits for an erasure. */
  get stopped(): Promise<unknown> {
    return this.#stopped;
  }
}
