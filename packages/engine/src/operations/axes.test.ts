import { expect, test } from 'vitest';
import { axesWords, mergedAxes, wideWalk } from './axes.ts';

test('axes that all operands pass in one stride are merged', () => {
  expect(mergedAxes([2, 3, 4], [[12, 4, 1]])).toEqual({ extents: [24], strides: [[1]] });
  const strides = [
    [12, 4, 1],
    [0, 4, 1],
  ];
  expect(mergedAxes([2, 3, 4], strides)).toEqual({
    extents: [2, 12],
    strides: [
      [12, 1],
      [0, 1],
    ],
  });
  expect(mergedAxes([1, 3, 1], [[3, 1, 1]])).toEqual({ extents: [3], strides: [[1]] });
  expect(mergedAxes([1], [[1]])).toEqual({ extents: [1], strides: [[1]] });
});

test('a walk goes by vec4 only where every operand can', () => {
  const wide = (extents: number[], ...strides: number[][]) => wideWalk({ extents, strides });
  expect(wide([3, 8], [8, 1], [1, 0])).toEqual({
    extents: [3, 2],
    strides: [
      [2, 1],
      [1, 0],
    ],
    repeated: [false, true],
  });
  expect(wide([3, 6], [6, 1])).toBeNull();
  expect(wide([3, 8], [9, 1])).toBeNull();
  expect(wide([3, 8], [1, 3])).toBeNull();
  expect(
    axesWords({
      extents: [3, 2],
      strides: [
        [2, 1],
        [1, 0],
      ],
    }),
  ).toEqual([3, 2, 1, 0, 2, 1, 0, 0]);
});
