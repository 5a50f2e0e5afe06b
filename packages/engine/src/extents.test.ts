import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  Device,
  empty,
  expand,
  fill,
  iota,
  normal,
  pad,
  quantise,
  randomState,
  reshape,
  ShapeError,
  slice,
  type Tensor,
  tensor,
  tensorInPieces,
  uniform,
  zeros,
} from './index.ts';

let device: Device;
beforeAll(async () => {
  device = await Device.open();
});
afterAll(() => device.close());

/** What shape each is refused for, and the rest of the message. */
const WRONG: [number[], string][] = [
  [[0], 'axis 0 is 0'],
  [[0, 3], 'axis 0 is 0'],
  [[3, 0], 'axis 1 is 0'],
  [[-2, 3], 'axis 0 is -2'],
  [[-2, -3], 'axis 0 is -2'],
  [[1.5, 2], 'axis 0 is 1.5'],
  [[2, Number.NaN], 'axis 1 is NaN'],
  [[Number.POSITIVE_INFINITY], 'axis 0 is Infinity'],
];

describe('extents that are no positive integers make no tensor', () => {
  test.each(WRONG)('[%s]: %s', (shape, problem) => {
    const before = device.memory().liveBytes;
    const message = (what: string) =>
      new ShapeError(`${what} of shape [${shape}]: ${problem}, not a positive integer`);
    const makers: [string, () => Tensor][] = [
      ['a tensor', () => zeros(device, shape)],
      ['a tensor', () => zeros(device, shape, { dtype: 'f16' })],
      ['a tensor', () => empty(device, shape)],
      ['a tensor', () => fill(device, shape, 1)],
      ['a tensor', () => iota(device, shape)],
    ];
    const size = shape.reduce((product, extent) => product * extent, 1);
    if (Number.isInteger(size) && size >= 0) {
      makers.push(['a tensor', () => tensor(device, new Float32Array(size), shape)]);
      for (const dtype of ['f16', 'int8'] as const)
        makers.push(['quantise: a weight', () => quantise(device, new Float32Array(size), shape, dtype)]);
    }
    for (const [what, make] of makers) expect(make).toThrow(message(what));
    expect(device.memory().liveBytes).toBe(before);
  });

  test('nor do those of a shape that an operation is to make', () => {
    const random = randomState(device, [1, 2]);
    const refused = (name: string) =>
      new ShapeError(`the result of ${name} of shape [0,2]: axis 0 is 0, not a positive integer`);
    expect(() => uniform(random, [0, 2], 0)).toThrow(refused('uniform'));
    expect(() => normal(random, [0, 2], 0)).toThrow(refused('normal'));
    expect(() => expand(zeros(device, [1, 2]), [0, 2])).toThrow(refused('expand'));
  });

  test('nor those of values that come in pieces', async () => {
    await expect(tensorInPieces(device, [0], async () => {})).rejects.toThrow(
      new ShapeError('a tensor of shape [0]: axis 0 is 0, not a positive integer'),
    );
  });

  test('a scalar has no axis, and is one element', async () => {
    expect(await zeros(device, []).item()).toBe(0);
  });
});

test('a reshape to them does not fit', () => {
  const x = zeros(device, [2, 3]);
  for (const shape of [[-2, -3], [-1, -6], [1.5, 4], [0, -1], [0]])
    expect(() => reshape(x, shape)).toThrow(new ShapeError(`reshape: [2,3] does not fit [${shape}]`));
});

test('places within an axis are integers', () => {
  const x = zeros(device, [4, 2]);
  for (const [start, length] of [
    [0.5, 1],
    [Number.NaN, 1],
    [0, Number.NaN],
    [0, 1.5],
    [0, 0],
    [-1, 2],
  ] as const)
    expect(() => slice(x, 0, start, length)).toThrow(
      new ShapeError(`slice: ${start}..${start + length} is outside axis 0 of [4,2]`),
    );
  for (const [before, extent] of [
    [0.5, 6],
    [Number.NaN, 6],
    [1, Number.NaN],
    [1, 6.5],
  ] as const)
    expect(() => pad(x, 0, before, extent)).toThrow(
      new ShapeError(`pad: [4,2] at ${before} does not fit ${extent} in axis 0`),
    );
});
