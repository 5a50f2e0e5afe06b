import { expect, test } from 'vitest';
import { EarlyStopping } from './early-stopping.ts';

/** The epoch a training ends after, and the one it keeps, counted from 1. */
function outcome(patience: number, scores: readonly number[]): { ended: number; kept: number } {
  const stopping = new EarlyStopping({ patience });
  let kept = 0;
  for (const [i, score] of scores.entries()) {
    if (stopping.note(score)) kept = i + 1;
    if (stopping.isOver) return { ended: i + 1, kept };
  }
  return { ended: scores.length, kept };
}

test.each<[string, number, number[], { ended: number; kept: number }]>([
  ['goes on while it gets better', 1, [0.1, 0.2, 0.3], { ended: 3, kept: 3 }],
  ['ends with the first that is not better', 1, [0.1, 0.3, 0.2, 0.9], { ended: 3, kept: 2 }],
  ['waits for as many as patience says', 2, [0.5, 0.4, 0.6, 0.5, 0.5, 0.9], { ended: 5, kept: 3 }],
  ['takes the first of equals', 3, [0.5, 0.5, 0.5, 0.5, 0.9], { ended: 4, kept: 1 }],
  ['keeps the first epoch where nothing helps', 2, [-3, -4, -5], { ended: 3, kept: 1 }],
  ['takes what is no number for worse than any', 1, [Number.NaN, Number.NaN, -9], { ended: 2, kept: 1 }],
  ['and recovers from it', 2, [Number.NaN, -9, Number.NaN], { ended: 3, kept: 2 }],
])('%s', (_, patience, scores, expected) => {
  expect(outcome(patience, scores)).toEqual(expected);
});
