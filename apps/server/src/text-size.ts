import type { Input } from '@s3t/unlearner';

/** Characters of all texts of one request. */
export const MOST_OF_REQUEST = 1_000_000;

/** Of all texts of an input; 0 of a picture. */
export function charactersOf(input: Input): number {
  if (!('text' in input)) return 0;
  const texts = typeof input.text === 'string' ? [input.text] : Object.values<string>(input.text);
  return texts.reduce((sum, { length }) => sum + length, 0);
}
