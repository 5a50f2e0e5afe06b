import type { Ensemble } from '@s3t/model';
import { UnlearnerError } from './errors.ts';
import { Trainings } from './trainings.ts';

/** Work that computes with training records beside training, and compares with the run as it was: the next erasure ends it. */
export class Comparisons {
  #underWay = 0;
  readonly trainings: Trainings = new Trainings();
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

  /** Takes note of an erasure. @returns whether anything was under way */
  erased(): boolean {
    const changed = 'records were erased meanwhile; ask again';
    this.#erasure.abort(new UnlearnerError('unavailable', changed));
    this.#erasure = new AbortController();
    this.trainings.stop();
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
