import { combine } from '@s3t/unlearner/parts';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { classesSaid } from './scorer.ts';

test('an ensemble is measured as the run combines its shards', () => {
  // One stack is very sure of class 1, two lean towards class 0.
  const logits = [
    [0, 20],
    [1, 0],
    [1, 0],
  ].map((row) => Float32Array.from(row));
  const said = (mode?: 'mean-logits' | 'vote') => classesSaid(logits, { rows: 1, classes: 2, mode });
  expect([said(), said('mean-logits'), said('vote')]).toEqual([[1], [1], [0]]);
});

test('the quick way says what the run says', () => {
  const row = fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: 6, maxLength: 6 });
  fc.assert(
    fc.property(fc.array(row, { minLength: 1, maxLength: 5 }), (stacks) => {
      const logits = stacks.map((values) => Float32Array.from(values));
      const each = [0, 1].map((at) => combine(logits, at, 3)[0]!.label);
      expect(classesSaid(logits, { rows: 2, classes: 3 })).toEqual(each);
    }),
  );
});
