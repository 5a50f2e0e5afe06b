import { afterAll, beforeAll, expect, test } from 'vitest';
import { cast, Device, matmul, scope, sizeOf, slice, type Tensor, tensor, uniformValues } from './index.ts';
import { MOST_AT_ONCE } from './matmul-variants.ts';
import { bitsOf } from './testing/block.ts';

let device: Device;
beforeAll(async () => {
  device = await Device.open();
});
afterAll(() => device.close());

const made = (shape: readonly number[], seed: number, on: Device = device) =>
  tensor(on, uniformValues(sizeOf(shape), 1, [5, seed], 0), shape);

// What is stored as f16 is unpacked by the kernels, or beforehand.
test.each([
  ['rows', 'f32', [MOST_AT_ONCE.m + 5, 4], [3, 4]],
  ['columns', 'f32', [3, 4], [MOST_AT_ONCE.n + 5, 4]],
  ['products', 'f32', [MOST_AT_ONCE.batch + 5, 2, 4], [MOST_AT_ONCE.batch + 5, 3, 4]],
  ['products', 'f16', [MOST_AT_ONCE.batch + 5, 2, 4], [MOST_AT_ONCE.batch + 5, 3, 4]],
] as const)('a product of more %s than one launch takes, B in %s', async (what, dtype, shapeA, shapeB) => {
  const x = made(shapeA, 0);
  const w = scope(() => cast(made(shapeB, 1), dtype));
  const y = scope(() => matmul(x, w, { transposeB: true }));
  const last = scope(() => {
    const end = (t: Tensor) => (t.shape[0]! > 5 ? slice(t, 0, t.shape[0]! - 5, 5) : t);
    return matmul(end(x), end(w), { transposeB: true });
  });
  const found = scope(() =>
    slice(y, shapeA[0] === 3 ? 1 : 0, MOST_AT_ONCE[what === 'products' ? 'batch' : 'm'], 5),
  );
  expect(bitsOf(await found.read())).toEqual(bitsOf(await last.read()));
  for (const each of [x, w, y, last, found]) each.dispose();
});

test('a product whose sums over parts of k are over the limit, where C is not, is computed in blocks, to the same bits', async () => {
  const [m, n, k, limit] = [260, 512, 512, 2 ** 20];
  expect([4 * m * n <= limit, 4 * 2 * m * n > limit]).toEqual([true, true]);
  const bits: string[] = [];
  for (const bindingLimitBytes of [limit, undefined]) {
    using gpu = await Device.open({ adapterClass: 'gpu', selfCheck: false, bindingLimitBytes });
    const y = scope(() => matmul(made([k, m], 1, gpu), made([k, n], 2, gpu), { transposeA: true }));
    bits.push(bitsOf(await y.read()));
  }
  expect(bits[0]).toBe(bits[1]);
});
