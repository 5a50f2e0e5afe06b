/** Runs asynchronous sections one after the other, in the order they were asked for. */
export class Mutex {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(section: () => Promise<T>): Promise<T> {
    const result = this.#last.then(section);
    this.#last = result.catch(() => {});
    return result;
  }

  /** Resolves when it is one's turn, with how to end it. @throws whatever `signal` aborts the waiting with */
  async enter(signal?: AbortSignal): Promise<() => void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const before = this.#last;
    this.#last = before.then(() => promise);
    const aborted = Promise.withResolvers<never>();
    const abort = () => aborted.reject(signal!.reason);
    signal?.addEventListener('abort', abort);
    try {
      signal?.throwIfAborted();
      await Promise.race([before, aborted.promise]);
      return resolve;
    } catch (error) {
      resolve();
      throw error;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }
}
