import { type BaseModel, type GenerateOptions, generate, type LanguageModel, ModelError } from '@s3t/model';
import type { RunConfig } from './config.ts';
import { UnlearnerError } from './errors.ts';
import { promptOfInput } from './examples.ts';
import type { Mutex } from './mutex.ts';
import { nothingServed } from './predict.ts';
import type { RightOfWay } from './right-of-way.ts';
import type { Serving } from './serving.ts';
import type { GenerationPiece, Prompt } from './types.ts';

/** How a text is continued: all but what the base decides. */
export type ContinueOptions = Omit<GenerateOptions, 'decode' | 'endTokens'>;

/**
 * Continues a text with what is served, token by token, one text at a time. Where an erasure changes what is served, the answer is cut
 * off: what was computed with the old stages is not gone on with.
 * @throws UnlearnerError `usage` naming what is wrong; `unavailable` when nothing is served, or no longer what began
 */
export async function* continueText(
  {
    serving,
    erasures,
    base,
    config,
    decoding,
  }: { serving: Serving; erasures: RightOfWay; base: BaseModel; config: RunConfig; decoding: Mutex },
  input: Prompt,
  options: ContinueOptions,
): AsyncGenerator<GenerationPiece, void, undefined> {
  const { language } = base;
  if (!language) throw new UnlearnerError('usage', 'input: this run continues no texts');
  const { tokenizer } = language;
  const prompt = tokensOf(input, language, config);
  const release = await decoding.enter(options.signal);
  try {
    await erasures.clear();
    const { served } = serving;
    if (!served) throw nothingServed();
    const { version, manifest, stages } = served;
    const pieces = generate(served.ensemble.decoder(), prompt, {
      ...options,
      decode: (ids) => tokenizer.decode(ids),
    });
    for (;;) {
      await erasures.clear();
      if (serving.served !== served) throw superseded();
      const { value, done } = await pieces.next().catch((error) => {
        if (serving.served !== served) throw superseded();
        throw error instanceof ModelError
          ? new UnlearnerError('usage', error.message, { cause: error })
          : error;
      });
      // What was computed with an old ensemble leaves with it.
      if (serving.served !== served) throw superseded();
      if (done) return;
      const { text, finish } = value;
      yield { text, finish, promptTokens: prompt.length, version, manifest, stages };
    }
  } finally {
    release();
  }
}

function tokensOf(input: Prompt, language: LanguageModel, config: RunConfig): number[] {
  const { tokenizer } = language;
  if (typeof input === 'string' || !('messages' in input))
    return tokenizer.encode(promptOfInput(input, config)).ids;
  try {
    return tokenizer.encode(language.chatPrompt(input.messages), { specialTokens: false }).ids;
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    throw new UnlearnerError('usage', `messages: ${error.message}`, { cause: error });
  }
}

function superseded(): UnlearnerError {
  return new UnlearnerError('unavailable', 'what is served changed while the text was continued; ask again');
}
