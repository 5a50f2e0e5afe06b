import { ModelError } from '../errors.ts';
import type { Decoder } from './decoder.ts';
import { checkSampling, chooseToken, drawnAt, type SamplingOptions } from './sampling.ts';
import { TextStream } from './text-stream.ts';

export interface GenerateOptions extends SamplingOptions {
  /** Tokens at most. Default: as many as fit. */
  maxTokens?: number;
  /** The text of tokens: a tokenizer's `decode`. Without it there are only tokens. */
  decode?: (ids: readonly number[]) => string;
  /**
   * Whether the text is one of its own, as an answer in a chat is, and not what the prompt goes on with: a tokenizer that leaves out
   * the space at the beginning of a text leaves it out then. Default: no.
   */
  startsAnew?: boolean;
  /** Where one of these begins the text ends. They take `decode`. */
  stop?: readonly string[];
  /** Tokens that end the text; they have no text themselves. Default: the model's. */
  endTokens?: readonly number[];
  /** A whole number from 0 to 2^53 - 1: equal seeds draw equal texts. Default 0. */
  seed?: number;
  /** Ends the text with its reason. */
  signal?: AbortSignal;
}

/** A token, and the text that became certain with it: none, where a character or what may become a stop string is not complete. */
export interface GeneratedPiece {
  token: number;
  text: string;
  /** Of the last piece: "stop" at an end token or a stop string, "length" where no more were asked for, or fit. */
  finish: 'stop' | 'length' | null;
}

/** How a text goes on: from logits to its next piece. It depends on the tokens before and on the options, and on no other text. */
export class Continuation {
  readonly #options: GenerateOptions;
  readonly #endTokens: readonly number[];
  readonly #capacity: number;
  readonly #text: TextStream;
  readonly #seen: Set<number>;
  #count = 0;

  /** @throws ModelError naming the option that is out of its range */
  constructor(
    { model, capacity }: Pick<Decoder, 'model' | 'capacity'>,
    prompt: readonly number[],
    options: GenerateOptions,
  ) {
    checkOptions(options);
    this.#options = options;
    this.#endTokens = options.endTokens ?? model.endTokens ?? model.config.eos_token_id;
    this.#capacity = capacity;
    this.#text = new TextStream(options.decode ?? (() => ''), options.stop, options.startsAnew ? [] : prompt);
    this.#seen = new Set(prompt);
  }

  /** @param logits after `position` tokens of the text @throws ModelError when a logit is not a number */
  next(logits: Float32Array, position: number): GeneratedPiece {
    const { maxTokens = Number.POSITIVE_INFINITY, seed = 0 } = this.#options;
    const token = chooseToken(logits, this.#seen, this.#options, drawnAt(position, seed));
    const isEnd = this.#endTokens.includes(token);
    let text = isEnd ? '' : this.#text.push(token);
    const isFull = ++this.#count >= maxTokens || position === this.#capacity;
    if (isEnd || isFull) text += this.#text.end();
    this.#seen.add(token);
    return { token, text, finish: isEnd || this.#text.stopped ? 'stop' : isFull ? 'length' : null };
  }
}

/** @throws ModelError naming the option */
function checkOptions({ maxTokens, decode, stop = [], seed = 0, ...sampling }: GenerateOptions): void {
  checkSampling(sampling);
  const fail = (option: string, problem: string): never => {
    throw new ModelError(`generate: option ${option} ${problem}`);
  };
  if (maxTokens !== undefined && !(Number.isInteger(maxTokens) && maxTokens > 0))
    fail('maxTokens', `must be a positive whole number, not ${JSON.stringify(maxTokens)}`);
  if (stop.includes('')) fail('stop', 'has an empty text');
  if (stop.length > 0 && !decode) fail('stop', 'takes decode: texts are not compared by tokens');
  if (!Number.isSafeInteger(seed) || seed < 0)
    fail('seed', `must be a whole number from 0 to 2^53 - 1, not ${JSON.stringify(seed)}`);
}
