import { expect, test } from 'vitest';
import { renderVerification } from './verify.ts';

const found = { identical: true, compared: 8, differing: [], missing: [] };

test.each([
  [found, 'identical: 8 stages compared, every byte equal'],
  [
    { ...found, compared: 1, missing: ['a', 'b'] },
    'identical: 1 stage compared, every byte equal\n2 stages are not trained yet: s3t repair',
  ],
  [
    { ...found, identical: false, compared: 0, missing: ['a'] },
    'nothing to compare\n1 stage is not trained yet: s3t repair',
  ],
  [
    { ...found, identical: false, compared: 7, differing: ['a'], missing: ['b'] },
    '1 stage differs, of 7 compared:\n  a\n1 stage is not trained yet: s3t repair',
  ],
])('what differs and what is missing are told apart: %j', (verification, text) => {
  expect(renderVerification(verification)).toBe(text);
});
