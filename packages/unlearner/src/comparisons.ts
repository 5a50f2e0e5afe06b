import type { Ensemble } from '@s3t/model';
import { UnlearnerError } from './errors.ts';

/** Work that computes with training records beside training, and compares with the run as it was: the next erasure ends it. */
export class Comparisons {
  #underWay = 0;
  readonly #trainings: Set<Promise<unknown>> = new Set();
  #stopped: Promise<unknown> = Promise.resolve();
  #erasure = new AbortController();

  /** Aborted at the next erasure. */
  get signal(): AbortSignal {
    return this.#erasure.signal;
  }

  async run<T>(section: () => Promise<T>): Promise<T> {
    this.#underWay++;
    try {
      return await section();
    } finally {
      this.#underWay--;
    }
  }

  /** Runs what trains a stage and leaves nothing of it on the device, however it ends. */
  async training<T>(section: () => Promise<T>): Promise<T> {
    const training = section();
    this.#trainings.add(training);
    try {
      return await training;
    } finally {
      this.#trainings.delete(training);
    }
  }

  /** Resolves when the trainings that erasures have stopped so far were zeroed in the queue of the device. */
  get stopped(): Promise<unknown> {
    return this.#stopped;
  }

  /** Takes note of an erasure. @returns whether anything was under way */
  erased(): boolean {
    const changed = 'records were erased meanwhile; ask again';
    this.#erasure.abort(new UnlearnerError('unavailable', changed));
    this.#erasure = new AbortController();
    this.#stopped = Promise.allSettled(this.#trainings);
    return this.#underWay > 0;
  }
}

/**
 * Lends an ensemble of stages that are active. It holds copies of adapters: it is disposed in the tick in which the signal is aborted, before
 * an erasure is acknowledged, or when whoever computes with it has done.
 */
export function lend(ensemble: Ensemble, signal: AbortSignal): Disposable {
  const dispose = () => ensemble.dispose();
  signal.addEventListener('abort', dispose);
  return {
    [Symbol.dispose]() {
      signal.removeEventListener('abort', dispose);
      dispose();
    },
  };
}
