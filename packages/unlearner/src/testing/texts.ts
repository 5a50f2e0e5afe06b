import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { uniformValues } from '@s3t/engine';

/** What the pairs are about, as numbers: files often name classes so. */
export const TEXT_LABELS = ['0', '1', '2', '3', '4'] as const;

/** Two words for each label. All words are one token each to the base. */
const KEY_WORDS = [
  ['light', 'day'],
  ['dark', 'void'],
  ['earth', 'heaven'],
  ['war', 'men'],
  ['summer', 'art'],
] as const;
const OTHER_WORDS = ['the', 'and', 'that', 'this', 'was', 'are', 'can', 'for', 'there', 'any', 'upon', 'too'];

/** A record as the tests make it. */
export interface MadeText {
  id: string;
  label: number;
  premise: string;
  hypothesis: string;
}

/** `count` pairs of texts, ids `pair-0` on, labels in turn; the same every time. Every other word is one of its label's. */
export function madeTexts(count: number, seed = 7): MadeText[] {
  return Array.from({ length: count }, (_, number) => madeText(number, seed));
}

/** Another `seed` gives another pair of the same label. */
export function madeText(number: number, seed = 7): MadeText {
  const label = number % KEY_WORDS.length;
  const draws = uniformValues(6, 1, [seed, number], 0).map((value) => (value + 1) / 2);
  const pick = <T>(from: readonly T[], draw: number): T =>
    from[Math.min(from.length - 1, Math.floor(draws[draw]! * from.length))]!;
  const words = [0, 1, 2, 3, 4, 5].map((draw) =>
    draw % 2 === 0 ? pick(KEY_WORDS[label]!, draw) : pick(OTHER_WORDS, draw),
  );
  return {
    id: `pair-${number}`,
    label,
    // One in four is short: with the special tokens 8 of them, others have 10.
    premise: words.slice(0, number % 4 === 1 ? 1 : 3).join(' '),
    hypothesis: words.slice(3).join(' '),
  };
}

/** Writes `<name>.jsonl`. */
export async function writeTexts(folder: string, name: string, records: readonly MadeText[]): Promise<void> {
  await writeFile(
    join(folder, `${name}.jsonl`),
    records.map((record) => `${JSON.stringify(record)}\n`).join(''),
  );
}
