import type { Counter } from './exposition.ts';

export interface CallbackOptions {
  /** Milliseconds to wait before each try after the first. */
  delays: readonly number[];
  /** Counts how tries and callbacks end. */
  counter: Counter;
}

/** How long a receiver may take to answer. */
const PATIENCE_MS = 10_000;

/** Tells others of what has happened, and again while they do not answer. What was not told when the process ends is lost. */
export class Callbacks {
  readonly #options: CallbackOptions;
  readonly #closing = new AbortController();
  readonly #sending = new Set<Promise<void>>();

  constructor(options: CallbackOptions) {
    this.#options = options;
  }

  /** Sends in the background. */
  send(url: string, body: string, headers: Record<string, string>): void {
    const sending = this.#deliver(url, { method: 'POST', body, headers }).finally(() =>
      this.#sending.delete(sending),
    );
    this.#sending.add(sending);
  }

  /** Gives up what has not been delivered. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#sending);
  }

  async #deliver(url: string, init: RequestInit): Promise<void> {
    const { delays, counter } = this.#options;
    for (const delay of [0, ...delays]) {
      await this.#sleep(delay);
      if (this.#closing.signal.aborted) break;
      const delivered = await this.#post(url, init);
      counter.add(1, { result: delivered ? 'delivered' : 'failed' });
      if (delivered) return;
    }
    counter.add(1, { result: 'given-up' });
  }

  async #post(url: string, init: RequestInit): Promise<boolean> {
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(PATIENCE_MS)]);
    try {
      // What it would lead to was not named by whoever asked.
      const response = await fetch(url, { ...init, redirect: 'error', signal });
      await response.body?.cancel();
      return response.ok;
    } catch {
      return false;
    }
  }

  #sleep(ms: number): Promise<void> {
    if (ms === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#closing.signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#closing.signal.addEventListener('abort', done);
    });
  }
}
