import type { BaseModel, GenerateOptions } from '@s3t/model';
import { expect, it } from 'vitest';
import type { RunConfig } from './config.ts';
import { continueText } from './generation.ts';
import type { Served, Serving } from './serving.ts';
import type { Prompt } from './types.ts';

/** Whether what a run says to a prompt is a text of its own. */
async function startsAnew(input: Prompt, text: string[]): Promise<boolean | undefined> {
  let asked: GenerateOptions | undefined;
  async function* generate(_: readonly number[], options: GenerateOptions) {
    asked = options;
    yield { token: 1, text: 'a', finish: 'stop' };
  }
  const served = { ensemble: { texts: () => ({ generate }) } } as unknown as Served;
  const serving = { begin: async () => ({ served, end() {} }), mayGoOn: () => true };
  const language = { tokenizer: { encode: () => ({ ids: [1] }) }, chatPrompt: () => 'hi' };
  const parts = {
    serving: serving as unknown as Serving,
    erasures: { clear: async () => {} } as never,
    base: { language } as unknown as BaseModel,
    config: { data: { text } } as unknown as RunConfig,
    slots: 1,
  };
  for await (const _ of continueText(parts, input, {}));
  return asked!.startsAnew;
}

it('goes on with a text, and answers as records and conversations do', async () => {
  expect(await startsAnew('once', ['story'])).toBe(false);
  expect(await startsAnew({ text: { story: 'once' } }, ['story'])).toBe(false);
  // A response was learnt as a text of its own: what is said is to be one, too.
  expect(await startsAnew('why', ['question', 'answer'])).toBe(true);
  expect(await startsAnew({ messages: [{ role: 'user', content: 'why' }] }, ['story'])).toBe(true);
});
