import { type BaseModel, type GenerateOptions, generate, ModelError } from '@s3t/model';
import type { RunConfig } from './config.ts';
import { UnlearnerError } from './errors.ts';
import { promptOfInput } from './examples.ts';
import type { Mutex } from './mutex.ts';
import { nothingServed } from './predict.ts';
import type { RightOfWay } from './right-of-way.ts';
import type { Serving } from './serving.ts';
import type { GenerationPiece, Input } from './types.ts';

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
  input: string | Input,
  options: ContinueOptions,
): AsyncGenerator<GenerationPiece, void, undefined> {
  const { language } = base;
  if (!language) throw new UnlearnerError('usage', 'input: this run continues no texts');
  const { tokenizer } = language;
  const prompt = tokenizer.encode(promptOfInput(input, config)).ids;
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
      yield { text: value.text, finish: value.finish, version, manifest, stages };
    }
  } finally {
    release();
  }
}

function superseded(): UnlearnerError {
  return new UnlearnerError('unavailable', 'what is served changed while the text was continued; ask again');
}
