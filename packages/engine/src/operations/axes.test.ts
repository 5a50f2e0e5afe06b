import { describe, expect, test } from 'vitest';
import {
  concat,
  Device,
  exp,
  expand,
  gradients,
  log,
  max,
  maximum,
  mean,
  multiply,
  pad,
  permute,
  ShapeError,
  slice,
  sum,
  type Tensor,
  tensor,
  total,
  uniformValues,
  zeros,
} from '../index.ts';
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

describe('axes that operations are given', () => {
  const GIVEN: [string, (x: Tensor, axis: number) => Tensor][] = [
    ['sum', (x, axis) => sum(x, axis)],
    ['mean', (x, axis) => mean(x, axis)],
    ['max', (x, axis) => max(x, axis)],
    ['slice', (x, axis) => slice(x, axis, 1, 1)],
    ['pad', (x, axis) => pad(x, axis, 1, 6)],
    ['concat', (x, axis) => concat([x, x], axis)],
    ['permute', (x, axis) => permute(x, [axis, ...[0, 1, 2].filter((each) => each !== (axis + 3) % 3)])],
  ];

  test.each(GIVEN)(
    '%s: negative ones count from the end, others must be of the shape',
    async (name, take) => {
      using device = await Device.open();
      const x = tensor(device, uniformValues(24, 1, [1, 2], 0), [2, 3, 4]);
      for (const axis of [0, 1, 2]) {
        const [forwards, backwards] = [take(x, axis), take(x, axis - 3)];
        expect(backwards.shape).toEqual(forwards.shape);
        expect(await backwards.read()).toEqual(await forwards.read());
      }
      for (const axis of [3, -4, 0.5, Number.NaN])
        expect(() => take(x, axis)).toThrow(
          new ShapeError(`${name}: axis ${axis} is not one of shape [2,3,4]`),
        );
    },
  );

  test('more than a kernel walks are refused by name; those that it walks as one are one', async () => {
    using device = await Device.open();
    const x = zeros(device, [2, 2, 2, 2, 2, 2, 2]);
    const walked = '[2,2,2,2,2,2,2] is walked along 7 axes; at most 6 are possible';
    const before = device.memory().liveBytes;
    expect(() => permute(x, [6, 5, 4, 3, 2, 1, 0])).toThrow(new ShapeError(`permute: ${walked}`));
    expect(() => expand(zeros(device, [2, 1, 2, 1, 2, 1, 2]), x.shape)).toThrow(
      new ShapeError(`expand: ${walked}`),
    );
    expect(device.memory().liveBytes - before).toBeLessThanOrEqual(256);
    expect(permute(x, [1, 0, 2, 3, 4, 5, 6]).shape).toEqual(x.shape);
    expect(slice(x, 6, 1, 1).shape).toEqual([2, 2, 2, 2, 2, 2, 1]);
  });
});

test('what has a value has a gradient: of more axes than a kernel walks, too', async () => {
  using device = await Device.open();
  const shape = [2, 1, 2, 1, 1, 1, 2];
  const values = uniformValues(8, 1, [1, 2], 0).map((value) => value + 1.5);
  const x = tensor(device, values, shape, { trainable: true });
  const row = tensor(device, [1, 2], [2, 1, 1, 1, 1]);
  const slope = async (made: Tensor) => [...(await gradients(total(made), [x])[0]!.read())];
  const each = (f: (value: number, i: number) => number) => Array.from(values, (value, i) => f(value, i));
  const close = (found: number[], expected: number[]) =>
    found.forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i]!, 5);
    });
  close(await slope(exp(x)), each(Math.exp));
  close(
    await slope(log(x)),
    each((value) => 1 / value),
  );
  close(
    await slope(multiply(x, row)),
    each((_, i) => 1 + ((i >> 1) & 1)),
  );
  close(
    await slope(maximum(x, row)),
    each((value, i) => Number(value >= 1 + ((i >> 1) & 1))),
  );
});

test('axes from ten on are an order like any', async () => {
  using device = await Device.open();
  const x = tensor(device, [0, 1, 2, 3, 4, 5], [2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3]);
  const turned = permute(x, [10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]);
  expect([...(await turned.read())]).toEqual([0, 3, 1, 4, 2, 5]);
});
