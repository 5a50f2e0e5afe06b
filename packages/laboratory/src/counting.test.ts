import { selectSequences } from '@s3t/algorithm';
import { expect, test } from 'vitest';
import { layerPasses } from './counting.ts';

const ratio = (layers: number, slices: number, height: number, strategy: string, budget: number) =>
  layerPasses({ layers, height, sequences: selectSequences(strategy, { slices, budget }) }).ratio;

test('one stage costs what a pass forwards and one backwards through its layers cost', () => {
  // 2 of 12 layers: (12 + 2) / (2 + 2).
  expect(layerPasses({ layers: 12, height: 2, sequences: [[0]] })).toEqual({
    s3t: 4,
    published: 14,
    ratio: 3.5,
  });
});

test.each([
  ['RoBERTa-large, 7 slices of 2 of 24 layers', ratio(24, 7, 2, 'cyclic', 1), 1.7],
  ['ViT-base, 6 slices of 2 of 12 layers', ratio(12, 6, 2, 'cyclic', 6), (252 + 182) / 364],
  ['all 24 orders of 4 slices: 4, 12, 24 and 24 distinct prefixes', ratio(12, 4, 3, 'all', 24), 5040 / 3912],
])('%s', (_, found, expected) => {
  expect(found).toBeCloseTo(expected, 12);
});

test('sequences without a common prefix share nothing, so their number does not matter', () => {
  expect(ratio(8, 4, 2, 'cyclic', 4)).toBeCloseTo(ratio(8, 4, 2, 'cyclic', 1), 12);
  expect(ratio(8, 4, 2, 'cyclic', 24)).toBeGreaterThan(ratio(8, 4, 2, 'cyclic', 4));
});
