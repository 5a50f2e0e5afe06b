import { ModelError } from '../errors.ts';
import type { Decoder } from './decoder.ts';
import { checkSampling, chooseToken, drawnAt, type SamplingOptions } from './sampling.ts';
import { TextStream } from './text-stream.ts';

export interface GenerateOptions extends SamplingOptions {
  /** Tokens at most. Default: as many as fit. */
  maxTokens?: number;
  /** The text of tokens: a tokenizer's `decode`. Without it there are only tokens. */
  decode?: (ids: readonly number[]) => string;
  /** Where one of these begins the text ends. They take `decode`. */
  stop?: readonly string[];
  /** Tokens that end the text; they have no text themselves. Default: those of config.json. */
  endTokens?: readonly number[];
  /** A whole number from 0 to 2^53 - 1: equal seeds draw equal texts. Default 0. */
  seed?: number;
  /** Ends the loop with its reason. */
  signal?: AbortSignal;
}

/** A token, and the text that became certain with it: none, where a character or what may become a stop string is not complete. */
export interface GeneratedPiece {
  token: number;
  text: string;
  /** Of the last piece: "stop" at an end token or a stop string, "length" where no more were asked for, or fit. */
  finish: 'stop' | 'length' | null;
}

/**
 * Continues a prompt, token by token. Reproducible: the token at a position depends on those before it and on the seed.
 * @param prompt tokens, special ones included
 * @throws ModelError naming what is wrong with the prompt or an option
 * @example
 * for await (const { text } of generate(decoder, tokenizer.encode('Once').ids, { decode: (ids) => tokenizer.decode(ids) }))
 *   process.stdout.write(text);
 */
export async function* generate(
  decoder: Decoder,
  prompt: readonly number[],
  options: GenerateOptions = {},
): AsyncGenerator<GeneratedPiece, void, undefined> {
  checkOptions(options);
  const { maxTokens = Number.POSITIVE_INFINITY, stop, seed = 0, signal } = options;
  const { endTokens = decoder.model.config.eos_token_id } = options;
  const text = new TextStream(options.decode ?? (() => ''), stop);
  const seen = new Set(prompt);
  decoder.reset();
  let next = prompt;
  for (let count = 1; ; count++) {
    signal?.throwIfAborted();
    const logits = await decoder.append(next);
    signal?.throwIfAborted();
    const token = chooseToken(logits, seen, options, drawnAt(decoder.position, seed));
    const isEnd = endTokens.includes(token);
    let piece = isEnd ? '' : text.push(token);
    const isFull = count >= maxTokens || decoder.position === decoder.capacity;
    if (isEnd || isFull) piece += text.end();
    const finish = isEnd || text.stopped ? 'stop' : isFull ? 'length' : null;
    yield { token, text: piece, finish };
    if (finish) return;
    seen.add(token);
    next = [token];
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
