import { expect, test } from 'vitest';
import { combine, type EnsembleMode } from './combine.ts';

const ln = Math.log;
/** Three shards on two records of three labels: the second record's logits are logarithms of probabilities. */
const logits = [
  [9, 9, 9, ln(0.5), ln(0.4), ln(0.1)],
  [9, 9, 9, ln(0.5), ln(0.3), ln(0.2)],
  [9, 9, 9, ln(0.01), ln(0.19), ln(0.8)],
].map((values) => Float32Array.from(values));

const answer = (mode: EnsembleMode, stacks = logits) => combine(stacks, 1, 3, mode);
const labels = (mode: EnsembleMode, stacks = logits) => answer(mode, stacks).map(({ label }) => label);

test('the modes differ, as their definitions do', () => {
  // Products 0.0025, 0.0228, 0.016: their cube roots, of one sum.
  expect(labels('mean-logits')).toEqual([1, 2, 0]);
  const roots = [0.0025, 0.0228, 0.016].map(Math.cbrt);
  const sum = roots.reduce((a, b) => a + b);
  expect(answer('mean-logits')[0]!.score).toBeCloseTo(roots[1]! / sum, 6);
  // 1.01, 0.89 and 1.1, of three.
  expect(labels('mean-probabilities')).toEqual([2, 0, 1]);
  expect(answer('mean-probabilities')[0]!.score).toBeCloseTo(1.1 / 3, 6);
  expect(labels('vote')).toEqual([0, 2, 1]);
  expect(answer('vote').map(({ score }) => score)).toEqual([2 / 3, 1 / 3, 0]);
  for (const mode of ['mean-logits', 'mean-probabilities', 'vote'] as const)
    expect(answer(mode).reduce((total, { score }) => total + score, 0)).toBeCloseTo(1, 12);
});

test('equal votes are decided by the mean of the probabilities, never against a vote', () => {
  // One vote each for 0 and 2; together 0.51, 0.59, 0.9: label 1 has the more of them, but no vote.
  expect(labels('vote', [logits[0]!, logits[2]!])).toEqual([2, 0, 1]);
});
