import type { ContinueOptions, GenerationPiece, Input } from '@s3t/unlearner';
import { expect, test } from 'vitest';
import { continueAll } from './continue.ts';

const made = { version: 3, manifest: 'm', stages: ['s'], promptTokens: 1 };

/** Says what it was asked, in two pieces and an end without text. */
async function* generate(
  input: string | Input,
  options: ContinueOptions = {},
): AsyncGenerator<GenerationPiece> {
  const { text } = input as { text: string };
  yield { ...made, text: `${text}, `, finish: null };
  yield { ...made, text: String(options.seed), finish: null };
  yield { ...made, text: '', finish: 'stop' };
}

test('prompts are continued in turn, each piece told as it comes', async () => {
  const told: [string, boolean][] = [];
  const prompts = ['a', 'b'].map((text, i) => ({ id: `${i}`, input: { text } }));
  const found = await continueAll({ generate }, prompts, { seed: 7 }, (...piece) => told.push(piece));
  expect(found).toEqual([
    { id: '0', text: 'a, 7', finish: 'stop', version: 3, manifest: 'm' },
    { id: '1', text: 'b, 7', finish: 'stop', version: 3, manifest: 'm' },
  ]);
  expect(told).toEqual([
    ['a, ', false],
    ['7', false],
    ['', true],
    ['b, ', false],
    ['7', false],
    ['', true],
  ]);
});
