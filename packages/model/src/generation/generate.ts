import { ModelError } from '../errors.ts';
import { Continuation, type GeneratedPiece, type GenerateOptions } from './continuation.ts';
import type { Decoder } from './decoder.ts';

/**
 * Continues a prompt, token by token, in the decoder's first slot; `ContinuousBatch` continues several at once. Reproducible: the
 * token at a position depends on those before it and on the seed.
 * @param prompt tokens, special ones included
 * @throws ModelError naming what is wrong with the prompt or an option, or when another text is begun in the slot meanwhile
 * @example
 * for await (const { text } of generate(decoder, tokenizer.encode('Once').ids, { decode: (ids) => tokenizer.decode(ids) }))
 *   process.stdout.write(text);
 */
export async function* generate(
  decoder: Decoder,
  prompt: readonly number[],
  options: GenerateOptions = {},
): AsyncGenerator<GeneratedPiece, void, undefined> {
  const continuation = new Continuation(decoder, prompt, options);
  const { signal } = options;
  const text = decoder.reset();
  let next = prompt;
  for (;;) {
    signal?.throwIfAborted();
    if (decoder.text() !== text) throw new ModelError('generate: another text was begun in the decoder');
    const logits = await decoder.append(next);
    signal?.throwIfAborted();
    const piece = continuation.next(logits, decoder.position());
    yield piece;
    if (piece.finish) return;
    next = [piece.token];
  }
}
