/** When a training ends before its last epoch. */
export interface StoppingRule {
  /** Epochs without a better score after which it ends, at least 1. */
  patience: number;
}

/**
 * Which epoch of a training is its best, and whether to go on: a pure rule over the epochs' scores, of which more is better. The first of
 * equals is the best one, and a score that is no number is worse than any.
 */
export class EarlyStopping {
  readonly #patience: number;
  #best = Number.NEGATIVE_INFINITY;
  #epochs = 0;
  #bestEpoch = 0;

  constructor({ patience }: StoppingRule) {
    this.#patience = patience;
  }

  /** Takes note of the score of the next epoch. @returns whether it is the best so far; the first one always is */
  note(score: number): boolean {
    const isBest = this.#epochs === 0 || score > this.#best;
    this.#epochs++;
    if (!isBest) return false;
    this.#best = Number.isNaN(score) ? Number.NEGATIVE_INFINITY : score;
    this.#bestEpoch = this.#epochs;
    return true;
  }

  /** Whether patience is at its end. */
  get isOver(): boolean {
    return this.#epochs - this.#bestEpoch >= this.#patience;
  }
}
