import type { Input } from '@s3t/unlearner';
import * as v from 'valibot';
import { Problem } from './problem.ts';
import { charactersOf, MOST_OF_REQUEST } from './text-size.ts';

/** Characters of one text, and of a conversation, which is read as one. A text is taken apart at once, in the process that erases. */
export const MOST_OF_TEXT = 100_000;
export const textSchema: v.GenericSchema<string> = v.pipe(v.string(), v.maxLength(MOST_OF_TEXT));

/** What is wrong with several texts that are read as one and are too long for it. */
export const TOO_LONG_TOGETHER: string = `expected at most ${MOST_OF_TEXT} characters together`;

/** Whether several texts are short enough to be read as one. */
export function fitTogether(texts: readonly string[]): boolean {
  return texts.reduce((sum, { length }) => sum + length, 0) <= MOST_OF_TEXT;
}

/** Throws 413 where the texts of a request have too many characters together. */
export function assertLength(inputs: readonly Input[]): void {
  const characters = inputs.reduce((sum, input) => sum + charactersOf(input), 0);
  if (characters <= MOST_OF_REQUEST) return;
  const message = `the texts of a request may have at most ${MOST_OF_REQUEST} characters together`;
  throw new Problem(413, 'too-large', message, { path: 'inputs' });
}
