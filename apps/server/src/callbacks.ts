import type { Counter } from './exposition.ts';
import type { Service } from './service.ts';

export interface CallbackOptions {
  /** Milliseconds to wait before each try after the first. */
  delays: readonly number[];
  /** Counts how tries and callbacks end. */
  counter: Counter;
  /** Where they are kept until they are delivered or given up. */
  service: Pick<Service, 'note' | 'notes'>;
  onError: (error: unknown) => void;
}

/** A callback that is to be delivered. */
interface Callback {
  url: string;
  body: string;
  headers: Record<string, string>;
  /** Tries that failed. */
  tries: number;
  /** When the next one is due, milliseconds since 1970. */
  due: number;
}

const PREFIX = 'callback/';

/** How long a receiver may take to answer. */
const PATIENCE_MS = 10_000;

/**
 * Tells others of what has happened, and again while they do not answer. What was not told when the process ends is gone on with by the next:
 * each is kept in the ledger until it is delivered or given up, so one may arrive twice, but none is forgotten.
 */
export class Callbacks {
  readonly #options: CallbackOptions;
  readonly #closing = new AbortController();
  readonly #sending = new Set<Promise<void>>();
  /** Those at work: one that is kept while the others are read is met twice. */
  readonly #known = new Set<string>();

  constructor(options: CallbackOptions) {
    this.#options = options;
    this.#track(this.#resume());
  }

  /** Sends in the background. Resolves once a restart would not forget it. */
  async send(url: string, body: string, headers: Record<string, string>): Promise<void> {
    const [name, callback] = [
      `${PREFIX}${crypto.randomUUID()}`,
      { url, body, headers, tries: 0, due: Date.now() },
    ];
    await this.#options.service.note(name, callback);
    this.#track(this.#deliver(name, callback));
  }

  /** Stops trying; what has not been delivered is kept. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#sending);
  }

  #track(work: Promise<void>): void {
    const tracked = work.catch(this.#options.onError).finally(() => this.#sending.delete(tracked));
    this.#sending.add(tracked);
  }

  /** Goes on with those of earlier processes. Where they cannot be read, it looks again. */
  async #resume(): Promise<void> {
    const { delays, service, onError } = this.#options;
    for (let tries = 0; !this.#closing.signal.aborted; tries++) {
      try {
        for (const [name, callback] of await service.notes(PREFIX))
          this.#track(this.#deliver(name, callback as Callback));
        return;
      } catch (error) {
        onError(error);
        await this.#sleep(delays[tries] ?? delays.at(-1) ?? PATIENCE_MS);
      }
    }
  }

  async #deliver(name: string, callback: Callback): Promise<void> {
    const { delays, counter, service, onError } = this.#options;
    const { url, body, headers } = callback;
    if (this.#known.has(name)) return;
    this.#known.add(name);
    for (let { tries, due } = callback; ; ) {
      await this.#sleep(Math.max(0, due - Date.now()));
      if (this.#closing.signal.aborted) return;
      const delivered = await this.#post(url, { method: 'POST', body, headers });
      // Ended with the process, it was no try.
      if (!delivered && this.#closing.signal.aborted) return;
      counter.add(1, { result: delivered ? 'delivered' : 'failed' });
      if (delivered) break;
      const delay = delays[tries];
      if (delay === undefined) {
        counter.add(1, { result: 'given-up' });
        break;
      }
      tries += 1;
      due = Date.now() + delay;
      // Where it cannot be kept (a full disk), a restart tries once more; this process knows how often it did.
      await service.note(name, { ...callback, tries, due }).catch(onError);
    }
    await service.note(name, null);
    this.#known.delete(name);
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
