import type { ContinueOptions, GenerationPiece, Prompt } from '@s3t/unlearner';
import { Problem } from './problem.ts';
import type { Service } from './service.ts';
import type { Tracing } from './tracing.ts';

export interface GenerationsOptions {
  /** Most texts under way or waiting. */
  most: number;
  /** How long one may take, milliseconds. */
  deadlineMs: number;
  /** Ends all of them. */
  closing: AbortSignal;
  /** Where spans are taken. */
  tracing?: Tracing | undefined;
}

/** Texts that are continued: so many at most, none longer than its deadline, and none beyond an erasure that deactivates stages. */
export class Generations {
  readonly #service: Service;
  readonly #options: GenerationsOptions;
  #open = 0;

  constructor(service: Service, options: GenerationsOptions) {
    this.#service = service;
    this.#options = options;
  }

  /** How many texts are under way or wait. */
  get size(): number {
    return this.#open;
  }

  /** Whether a text that was computed with a version may still be given: of it and those since every stage is active. */
  mayLeave(version: number): boolean {
    const { validSince } = this.#service;
    return validSince !== null && version >= validSince;
  }

  /**
   * Continues a text, a token a piece. A publication leaves it the ensemble that began it. Once stages were deactivated no piece follows:
   * it ends with an error in the tick in which an erasure's swap takes effect, and not when the token under way is there.
   * @param gone aborted when nobody reads any more
   * @throws Problem 429 when there are too many, 503 when it is cut off
   */
  async *run(
    prompt: Prompt,
    options: Omit<ContinueOptions, 'signal'>,
    gone: AbortSignal,
  ): AsyncGenerator<GenerationPiece, void, undefined> {
    const { most, deadlineMs, closing, tracing } = this.#options;
    if (this.#open >= most)
      throw new Problem(429, 'queue-full', 'too many texts are waiting; try again', { retryAfter: 1 });
    this.#open++;
    const span = tracing?.text();
    const end = new AbortController();
    const because = (problem: Problem) => () => end.abort(problem);
    const ends: [AbortSignal, () => void][] = [
      [gone, because(new Problem(400, 'gone', 'the client went away'))],
      [closing, because(new Problem(503, 'closing', 'the server is shutting down', { retryAfter: 5 }))],
    ];
    for (const [signal, listener] of ends) signal.addEventListener('abort', listener);
    const late = because(new Problem(503, 'deadline', 'it took too long', { retryAfter: 5 }));
    const timer = setTimeout(late, deadlineMs);
    let version: number | undefined;
    const stop = this.#service.on((event) => {
      if (event.type === 'version' && version !== undefined && !this.mayLeave(version))
        end.abort(superseded());
    });
    const ended = new Promise<never>((_, reject) => {
      end.signal.addEventListener('abort', () => reject(end.signal.reason));
    });
    // Nobody waits for it between two pieces.
    ended.catch(() => {});
    const pieces = this.#service.generate(prompt, { ...options, signal: end.signal });
    // Here, as who does not read the next piece lets it come to no `finally`. An abort is told once.
    end.signal.addEventListener('abort', () => {
      this.#open--;
      stop();
      clearTimeout(timer);
      for (const [signal, listener] of ends) signal.removeEventListener('abort', listener);
      // The token under way is not waited for: it may itself wait for the erasure that cuts it off.
      pieces.return().catch(() => {});
    });
    for (const [signal, listener] of ends) if (signal.aborted) listener();
    try {
      for (;;) {
        end.signal.throwIfAborted();
        const { value, done } = await Promise.race([pieces.next(), ended]);
        end.signal.throwIfAborted();
        if (done) return;
        version = value.version;
        if (!this.mayLeave(version)) throw superseded();
        span?.piece(value);
        yield value;
      }
    } catch (error) {
      span?.failed(error);
      throw error;
    } finally {
      span?.end();
      end.abort();
    }
  }
}

function superseded(): Problem {
  const message = 'what is served changed while the text was continued; ask again';
  return new Problem(503, 'superseded', message, { retryAfter: 1 });
}
