import { type BaseModel, type GenerateOptions, type LanguageModel, ModelError } from '@s3t/model';
import type { RunConfig } from './config.ts';
import { UnlearnerError } from './errors.ts';
import { promptOfInput } from './examples.ts';
import { nothingServed } from './predict.ts';
import type { RightOfWay } from './right-of-way.ts';
import type { Served, Serving } from './serving.ts';
import type { GenerationPiece, Prompt } from './types.ts';

/** How a text is continued: all but what the base and the prompt decide. */
export type ContinueOptions = Omit<GenerateOptions, 'decode' | 'endTokens' | 'startsAnew'>;

/**
 * Continues a text with what is served, token by token, together with others. A publication meanwhile leaves it the ensemble that it
 * began with; where stages that answer are deactivated, it is cut off: what was computed with old stages is not gone on with.
 * @throws UnlearnerError `usage` naming what is wrong; `unavailable` when nothing is served, or no longer what began
 */
export async function* continueText(
  parts: { serving: Serving; erasures: RightOfWay; base: BaseModel; config: RunConfig; slots: number },
  input: Prompt,
  options: ContinueOptions,
): AsyncGenerator<GenerationPiece, void, undefined> {
  const { serving, erasures, base, config } = parts;
  const { language } = base;
  if (!language) throw new UnlearnerError('usage', 'input: this run continues no texts');
  const prompt = tokensOf(input, language, config);
  // Responses are learnt as texts of their own, behind their prompts, and so is an answer in a chat: it begins with no space for it.
  const startsAnew = isChat(input) || config.data.text!.length > 1;
  for (;;) {
    await erasures.clear();
    const begun = await serving.begin(options.signal);
    if (!begun) throw nothingServed();
    const { served, end } = begun;
    let isCut = false;
    try {
      for await (const piece of piecesOf(parts, served, prompt, { ...options, startsAnew })) {
        isCut = true;
        yield piece;
      }
      return;
    } catch (error) {
      // A text of which nothing was said begins again with what is served now.
      if (serving.mayGoOn(served) || options.signal?.aborted) throw error;
      if (isCut) throw superseded();
    } finally {
      end();
    }
  }
}

async function* piecesOf(
  { serving, erasures, base, slots }: Parameters<typeof continueText>[0],
  served: Served,
  prompt: readonly number[],
  options: GenerateOptions,
): AsyncGenerator<GenerationPiece, void, undefined> {
  const { version, manifest, stages, ensemble } = served;
  const { tokenizer } = base.language!;
  const texts = ensemble.texts({ slots, turn: () => erasures.clear() });
  const pieces = texts.generate(prompt, { ...options, decode: (ids) => tokenizer.decode(ids) });
  try {
    for await (const { text, finish } of pieces) {
      // What was computed with an old ensemble leaves with it.
      if (!serving.mayGoOn(served)) throw superseded();
      yield { text, finish, promptTokens: prompt.length, version, manifest, stages };
      if (!serving.mayGoOn(served)) throw superseded();
    }
  } catch (error) {
    throw error instanceof ModelError ? new UnlearnerError('usage', error.message, { cause: error }) : error;
  }
}

function tokensOf(input: Prompt, language: LanguageModel, config: RunConfig): number[] {
  const { tokenizer } = language;
  if (!isChat(input)) return tokenizer.encode(promptOfInput(input, config)).ids;
  try {
    return tokenizer.encode(language.chatPrompt(input.messages), { specialTokens: false }).ids;
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    throw new UnlearnerError('usage', `messages: ${error.message}`, { cause: error });
  }
}

function isChat(input: Prompt): input is Extract<Prompt, { messages: unknown }> {
  return typeof input !== 'string' && 'messages' in input;
}

function superseded(): UnlearnerError {
  return new UnlearnerError('unavailable', 'what is served changed while the text was continued; ask again');
}
