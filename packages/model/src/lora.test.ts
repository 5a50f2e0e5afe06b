import { describe, expect, it } from 'vitest';
import { ModelError, OptionError } from './errors.ts';
import { adapterGroups, loraScale } from './lora.ts';

describe('loraScale', () => {
  const lora = { rank: 16, alpha: 24, dropout: 0, targets: [] };

  it('is alpha / rank, and alpha / sqrt(rank) with rsLoRA', () => {
    expect(loraScale({ ...lora, rslora: false })).toBe(1.5);
    expect(loraScale({ ...lora, rslora: true })).toBe(6);
  });
});

describe('adapterGroups', () => {
  it('numbers the groups from the top, layers highest first', () => {
    expect(adapterGroups(12, 6)).toEqual([
      [11, 10],
      [9, 8],
      [7, 6],
      [5, 4],
      [3, 2],
      [1, 0],
    ]);
    expect(adapterGroups(4, 1)).toEqual([[3, 2, 1, 0]]);
    expect(adapterGroups(3, 3)).toEqual([[2], [1], [0]]);
  });

  it('leaves what does not fill a group bare, at the bottom', () => {
    expect(adapterGroups(12, 5)).toEqual([
      [11, 10],
      [9, 8],
      [7, 6],
      [5, 4],
      [3, 2],
    ]);
    expect(adapterGroups(7, 4)).toEqual([[6], [5], [4], [3]]);
  });

  it('gives every layer at most one group', () => {
    for (let layers = 1; layers <= 24; layers++)
      for (let groups = 1; groups <= layers; groups++) {
        const found = adapterGroups(layers, groups).flat();
        const height = Math.floor(layers / groups);
        expect(found).toEqual(Array.from({ length: groups * height }, (_, i) => layers - 1 - i));
      }
  });

  it('refuses more groups than layers', () => {
    expect(() => adapterGroups(12, 13)).toThrow(
      new OptionError('slices: 13 is more than the 12 layers of the base; use at most 12'),
    );
  });

  it('takes another height, as far as there are layers', () => {
    expect(adapterGroups(24, 7, 2).flat()).toEqual(Array.from({ length: 14 }, (_, i) => 23 - i));
    expect(() => adapterGroups(24, 7, 4)).toThrow(
      new OptionError(
        'layersPerSlice: 7 slices of 4 layers do not fit into the 24 layers of the base; use 3',
      ),
    );
  });

  it.each([0, -1, 1.5, Number.NaN])('refuses %d groups', (groups) => {
    expect(() => adapterGroups(12, groups)).toThrow(ModelError);
  });
});
