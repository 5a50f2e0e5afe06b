// The server's event stream. By fetch: EventSource cannot send a key.
import { ApiError, request } from './api.ts';
import { eventsOf } from './sse.ts';

/** The server sends a comment every 15 s; a stream that is silent for three of them is dead. */
const SILENCE_MS = 45_000;
const LONGEST_WAIT_MS = 15_000;

// biome-ignore lint/suspicious/noExplicitAny: each event has its own shape, told by its name
export type Handler = (name: string, data: any) => void;

/**
 * Calls `on` for every event until `signal` is aborted. Where the stream ends it is opened again, after 1 s, 2 s, 4 s and so on;
 * `onState` tells when it comes and goes, and what the server said of why. A key that is not taken (401, 403) ends it: `onRefused` is told.
 */
export async function follow(
  on: Handler,
  onState: (live: boolean, why?: string) => void,
  onRefused: (error: ApiError) => void,
  signal: AbortSignal,
): Promise<void> {
  for (let wait = 1000; !signal.aborted; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
    let why: string | undefined;
    try {
      const watch = new Watch(signal);
      try {
        const { body } = await request('/v1/events', { signal: watch.signal });
        for await (const { name, data } of eventsOf(body!, () => watch.reset())) {
          if (signal.aborted) return;
          if (name === undefined) continue;
          if (name === 'hello') {
            wait = 1000;
            onState(true);
          }
          on(name, JSON.parse(data));
        }
      } finally {
        watch.stop();
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && (error.status === 401 || error.status === 403)) {
        onRefused(error);
        return;
      }
      if (error instanceof ApiError && error.status !== 0) why = error.message;
    }
    if (signal.aborted) return;
    onState(false, why);
    await pause(wait);
  }
}

/** Aborts what it watches when it has been silent for too long. */
class Watch {
  readonly #abort = new AbortController();
  readonly signal: AbortSignal;
  #timer = 0;

  constructor(outer: AbortSignal) {
    this.signal = AbortSignal.any([outer, this.#abort.signal]);
    this.reset();
  }

  reset(): void {
    this.stop();
    this.#timer = window.setTimeout(() => this.#abort.abort(), SILENCE_MS);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}

/** Waits, or less where the network comes back. */
function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      removeEventListener('online', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    addEventListener('online', done);
  });
}
