import { AlgorithmError } from '../errors.ts';

export interface SequenceOptions {
  /** L: slices of a shard, the length of every sequence. At least 1. */
  slices: number;
  /** B: sequences per shard, from 1 to L!. */
  budget: number;
  /** Probability that a deletion hits each slice: `slices` values of at least 0 that sum to 1. Default: all alike. */
  prior?: readonly number[];
  /** t of Eq. 24: how many deletions the score looks ahead. At least 1. Default: {@link LOOKAHEAD}. */
  lookahead?: number;
  /** For strategies that draw: a safe integer of at least 0. Default: 1. */
  seed?: number;
}

/** t of Eq. 24 in the paper's public code. */
export const LOOKAHEAD = 100;

export const DEFAULT_SEED = 1;

/** Every slice alike. */
export function uniformPrior(slices: number): number[] {
  return Array.from({ length: slices }, () => 1 / slices);
}

/**
 * A way to choose the slice orders of a shard. To add one: a file beside this one, and a line in registry.ts.
 * `select` gets options that are already checked, and returns `budget` distinct permutations of 0 .. slices-1; it depends on its options
 * alone. What only this strategy cannot do, it refuses with a {@link SequenceError}.
 */
export interface SequenceStrategy {
  name: string;
  /** Whether its choice depends on the seed. */
  draws: boolean;
  select(options: SequenceOptions): number[][];
}

/** Options no sequences can be chosen for. The message is `reason`, followed by the nearest valid value where there is one. */
export class SequenceError extends AlgorithmError {
  override name = 'SequenceError';
  /** The option at fault. */
  readonly option: 'strategy' | keyof SequenceOptions;
  readonly reason: string;
  /** The valid value nearest to the one given, where there is one. */
  readonly nearest: number | readonly number[] | undefined;

  constructor(
    option: 'strategy' | keyof SequenceOptions,
    reason: string,
    nearest?: number | readonly number[],
  ) {
    super(
      nearest === undefined ? reason : `${reason}; the nearest valid value is ${JSON.stringify(nearest)}`,
    );
    this.option = option;
    this.reason = reason;
    this.nearest = nearest;
  }
}
