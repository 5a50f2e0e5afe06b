import { describe, expect, it } from 'vitest';
import { AlgorithmError } from '../errors.ts';
import { SequenceError, type SequenceOptions, selectSequences, sequenceStrategies } from './index.ts';

function refusal(strategy: string, options: SequenceOptions): SequenceError {
  try {
    selectSequences(strategy, options);
  } catch (error) {
    expect(error).toBeInstanceOf(AlgorithmError);
    expect(error).toBeInstanceOf(SequenceError);
    return error as SequenceError;
  }
  throw new Error('nothing was refused');
}

describe('selectSequences', () => {
  it('names the strategies it knows when asked for another', () => {
    const error = refusal('cyclical', { slices: 4, budget: 2 });
    expect(error.option).toBe('strategy');
    for (const name of sequenceStrategies.keys()) expect(error.message).toContain(name);
    expect(refusal('constructor', { slices: 4, budget: 2 }).option).toBe('strategy');
  });

  it.each<[Partial<SequenceOptions>, string, unknown]>([
    [{ budget: 7 }, 'budget', 6],
    [{ budget: 0 }, 'budget', 1],
    [{ budget: 2.6 }, 'budget', 3],
    [{ budget: Number.NaN }, 'budget', 1],
    [{ slices: -3 }, 'slices', 1],
    [{ lookahead: 0 }, 'lookahead', 1],
    [{ seed: -1 }, 'seed', 0],
    [{ prior: [0.5, 0.5] }, 'prior', undefined],
    [{ prior: [1.5, -0.5, 0] }, 'prior', undefined],
    [{ prior: [1, 1, 2] }, 'prior', [0.25, 0.25, 0.5]],
  ])('refuses %o and gives the nearest valid value', (change, option, nearest) => {
    const error = refusal('cyclic', { slices: 3, budget: 2, ...change });
    expect(error.option).toBe(option);
    expect(error.nearest).toEqual(nearest);
    expect(error.message.startsWith(error.reason)).toBe(true);
    if (nearest !== undefined) expect(error.message).toContain(JSON.stringify(nearest));
  });

  it('accepts a prior whose sum is off by rounding', () => {
    expect(selectSequences('cyclic', { slices: 3, budget: 1, prior: [1 / 3, 1 / 3, 0.3333333] })).toEqual([
      [0, 1, 2],
    ]);
  });
});

describe('all', () => {
  it('is every order, lexicographically', () => {
    const sequences = selectSequences('all', { slices: 4, budget: 24 });
    expect(new Set(sequences.map(String)).size).toBe(24);
    expect(sequences.map((sequence) => sequence.join(''))).toEqual(
      sequences.map((sequence) => sequence.join('')).sort(),
    );
    expect(sequences.every((sequence) => sequence.toSorted().join('') === '0123')).toBe(true);
  });

  it('wants the full budget, and few slices', () => {
    expect(refusal('all', { slices: 4, budget: 13 }).nearest).toBe(24);
    const error = refusal('all', { slices: 9, budget: 362_880 });
    expect([error.option, error.nearest]).toEqual(['slices', 8]);
  });
});
