import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  Device,
  embedding,
  gradients,
  multiply,
  philox,
  scope,
  tensor,
  total,
  uniformValues,
} from '../index.ts';
import { sortedPositions } from '../sort.ts';
import { bitsOf } from '../testing/block.ts';

let device: Device;
beforeAll(async () => {
  device = await Device.open();
});
afterAll(() => device.close());

const drawn = (count: number, below: number, seed: number) =>
  Uint32Array.from({ length: count }, (_, i) => philox([i, 0, 0, 0], [seed, 1])[0] % below);

test.each([
  [1, 1],
  [700, 3],
  [257, 70_000],
  [3000, 2 ** 32],
])('%i keys below %i are sorted, equal ones as they lie', async (count, below) => {
  const keys = drawn(count, below, 3);
  const order = scope(() => sortedPositions(tensor(device, keys), below - 1));
  const expected = [...keys.keys()].sort((a, b) => keys[a]! - keys[b]! || a - b);
  expect([...(await order.readUint32())]).toEqual(expected);
  order.dispose();
});

test('the gradient of a row is the float32 sum in the order of the indices, to the bit', async () => {
  const [rows, width, count] = [50, 8, 600];
  const index = drawn(count, rows - 1, 5);
  // One far past the end, which reads the last row; it alone.
  index[17] = 4_000_000_000;
  const dy = uniformValues(count * width, 1, [9, 9], 0);
  const expected = new Float32Array(rows * width);
  index.forEach((named, i) => {
    const row = Math.min(named, rows - 1);
    for (let j = 0; j < width; j++) expected[row * width + j]! += dy[i * width + j]!;
  });
  const gradient = scope(() => {
    const table = tensor(device, new Float32Array(rows * width), [rows, width], { trainable: true });
    const y = embedding(table, tensor(device, index));
    return gradients(total(multiply(y, tensor(device, dy, [count, width]))), [table])[0]!;
  });
  expect(bitsOf(await gradient.read())).toBe(bitsOf(expected));
  gradient.dispose();
});
