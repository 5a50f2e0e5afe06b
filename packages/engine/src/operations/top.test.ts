import { afterAll, beforeAll, expect, test } from 'vitest';
import { argmax, Device, gradients, multiply, philox, scope, tensor, topK, total } from '../index.ts';

let device: Device;
beforeAll(async () => {
  device = await Device.open();
});
afterAll(() => device.close());

async function top(
  values: readonly number[],
  count: number,
): Promise<{ values: number[]; indices: number[] }> {
  const { values: found, indices } = scope(() => topK(tensor(device, values), count));
  const result = { values: [...(await found.read())], indices: [...(await indices.readUint32())] };
  found.dispose();
  indices.dispose();
  return result;
}

test('equal elements come in the order they lie in, zeros of both signs are equal', async () => {
  expect(await top([1, 3, 3, -2, 3, 1], 5)).toEqual({ values: [3, 3, 3, 1, 1], indices: [1, 2, 4, 0, 5] });
  expect((await top([-1, -0, 0, -0], 4)).indices).toEqual([1, 2, 3, 0]);
});

test('infinities and NaN have their places', async () => {
  const values = [0, Number.NEGATIVE_INFINITY, Number.NaN, Number.POSITIVE_INFINITY, -3e38, Number.NaN];
  expect((await top(values, 6)).indices).toEqual([2, 5, 3, 0, 4, 1]);
  using x = tensor(device, values);
  using at = argmax(x);
  expect([...(await at.readUint32())]).toEqual([2]);
});

test.each([1, 5, 64])(
  'the %i largest of rows cut into many parts, with many equal elements',
  async (count) => {
    const [rows, width] = [3, 5000];
    const values = Float32Array.from(
      { length: rows * width },
      (_, i) => (philox([i, 0, 0, 0], [1, 1])[0] % 97) - 48,
    );
    using x = tensor(device, values, [rows, width]);
    const { values: found, indices } = topK(x, count);
    const expected = Array.from({ length: rows }, (_, r) => {
      const row = values.subarray(r * width, (r + 1) * width);
      return [...row.keys()].sort((a, b) => row[b]! - row[a]! || a - b).slice(0, count);
    });
    expect([...(await indices.readUint32())]).toEqual(expected.flat());
    expect([...(await found.read())]).toEqual(
      expected.flatMap((row, r) => row.map((at) => values[r * width + at]!)),
    );
    found.dispose();
    indices.dispose();
  },
);

test('gradients flow through the values to where they lie', async () => {
  const x = tensor(device, [5, 1, 9, 7], [4], { trainable: true });
  const gradient = scope(() => {
    const weighted = multiply(topK(x, 2).values, tensor(device, [10, 20]));
    return gradients(total(weighted), [x])[0]!;
  });
  expect([...(await gradient.read())]).toEqual([0, 0, 10, 20]);
  gradient.dispose();
  x.dispose();
});

test('more than there are, more than 64, or no whole number is refused', () => {
  const x = tensor(device, new Float32Array(200), [2, 100]);
  for (const count of [65, 0, 1.5])
    expect(() => topK(x, count)).toThrow(
      `topK: k = ${count} is not 1 to 64 of the last axis of [2,100], axis 1`,
    );
  x.dispose();
});
