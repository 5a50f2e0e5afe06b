import { defaultBuckets } from '../batches.ts';
import { type Checkpoint, companionOf, nameOf } from '../checkpoint.ts';
import { ModelError, OptionError } from '../errors.ts';
import { Tokenizer } from './tokenizer.ts';

/** Tokens of a text, unless it is said. */
const DEFAULT_LENGTH = 128;

/** How a base reads texts. */
export interface TextBase {
  tokenizer: Tokenizer;
  /** Tokens of a text at most. */
  length: number;
  /** The lengths that texts are padded to: they rise, and the last is `length`. */
  buckets: readonly number[];
  /**
   * A kernel would take the last row for what is past the end of a table.
   * @param what a row stands for: "token"
   * @throws ModelError naming the tokenizer's file when a number is past the `rows` that config.json gives
   */
  assertWithin(numbers: Iterable<number>, rows: number, what: string): void;
}

/**
 * The tokenizer of a checkpoint, and how long its texts may be.
 * @param positions that the base has
 * @param pairs whether texts come in pairs, which have more special tokens
 * @throws OptionError when `maxLength` or `buckets` do not go with the base
 */
export function openTextBase(
  checkpoint: Checkpoint,
  positions: number,
  {
    maxLength,
    buckets: wanted,
    pairs = false,
  }: {
    maxLength?: number | undefined;
    buckets?: readonly number[] | undefined;
    pairs?: boolean | undefined;
  },
): TextBase {
  const file = nameOf(checkpoint, 'tokenizer.json');
  const rules = companionOf(checkpoint, 'tokenizer.json');
  const tokenizer = new Tokenizer(rules, checkpoint.companions.get('tokenizer_config.json') ?? {}, file);
  const length = maxLength ?? Math.min(DEFAULT_LENGTH, positions);
  if (length > positions)
    throw new OptionError(`data.maxLength: ${length} is more than the ${positions} positions of the base`);
  const least = tokenizer.specialTokens(pairs) + (pairs ? 2 : 1);
  if (length < least)
    throw new OptionError(
      `data.maxLength: ${length} leaves no room for ${pairs ? 'a pair of texts' : 'a text'} between special tokens; it takes ${least}`,
    );
  const tooLong = wanted?.find((bucket) => bucket > length);
  if (tooLong !== undefined)
    throw new OptionError(`data.buckets: ${tooLong} is more than the ${length} tokens of a text`);
  const buckets = wanted ? [...new Set([...wanted, length])].sort((a, b) => a - b) : defaultBuckets(length);
  return {
    tokenizer,
    length,
    buckets,
    assertWithin(numbers, rows, what) {
      for (const number of numbers)
        if (number >= rows)
          throw new ModelError(`${file}: gives ${what} ${number}, config.json has ${rows} of them`);
    },
  };
}
