import { afterAll, beforeAll, expect, test } from 'vitest';
import { capture, Device, iota, less, normal, randomState, uniform, where } from '../index.ts';
import { bitsOf } from '../testing/block.ts';

let device: Device;
beforeAll(async () => {
  device = await Device.open();
});
afterAll(() => device.close());

const COUNT = 40_000;

/** Mean of each power of the values, 1 to 4. */
const momentsOf = (values: Float32Array) =>
  [1, 2, 3, 4].map((power) => values.reduce((sum, value) => sum + value ** power, 0) / values.length);

test('uniform values fill [0, 1) evenly', async () => {
  const random = randomState(device, [3, 4], 5);
  using x = uniform(random, [COUNT], 0);
  const values = await x.read();
  expect(values.every((value) => value >= 0 && value < 1 && Number.isInteger(value * 2 ** 24))).toBe(true);
  const tenths = new Array<number>(10).fill(0);
  for (const value of values) tenths[Math.floor(value * 10)]!++;
  for (const count of tenths) expect(Math.abs(count - COUNT / 10)).toBeLessThan(300);
});

test('normal values have the moments 0, 1, 0, 3, in both halves of a pair', async () => {
  const random = randomState(device, [3, 4], 5);
  using x = normal(random, [COUNT], 0);
  const values = await x.read();
  for (const half of [0, 1]) {
    const [first, second, third, fourth] = momentsOf(values.filter((_, i) => i % 2 === half));
    expect(Math.abs(first!)).toBeLessThan(0.03);
    expect(Math.abs(second! - 1)).toBeLessThan(0.05);
    expect(Math.abs(third!)).toBeLessThan(0.1);
    expect(Math.abs(fourth! - 3)).toBeLessThan(0.3);
  }
  expect(Math.max(...values)).toBeGreaterThan(3.5);
  expect(Math.max(...values)).toBeLessThan(5.8);
});

test('key, step, stream and kind tell draws apart; a replayed step draws what the eager one does', async () => {
  const random = randomState(device, [1, 2]);
  const other = randomState(device, [1, 3]);
  const seen: string[] = [];
  const draw = async (make: () => ReturnType<typeof uniform>) => {
    using x = make();
    const bits = bitsOf(await x.read());
    seen.push(bits);
    return bits;
  };
  const step = capture(device, () => uniform(random, [33], 7));
  for (const at of [0, 1, 2]) {
    random.setStep(at);
    step.replay();
    expect(await draw(() => uniform(random, [33], 7))).toBe(bitsOf(await step.outputs.read()));
    await draw(() => uniform(random, [33], 8));
    await draw(() => normal(random, [33], 7));
  }
  await draw(() => uniform(other, [33], 7));
  expect(new Set(seen).size).toBe(10);
  // A longer draw begins as a shorter one.
  const longer = await draw(() => uniform(random, [70], 7));
  expect(longer.startsWith(seen[6]!)).toBe(true);
  step.dispose();
});

test('iota counts in either type, and compares into a causal mask', async () => {
  using words = iota(device, [2, 5], 'u32');
  expect([...(await words.readUint32())]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  using column = iota(device, [4, 1]);
  using row = iota(device, [3]);
  using hidden = less(column, row);
  using seen = where(hidden, iota(device, [1]), column);
  expect([...(await seen.read())]).toEqual([0, 0, 0, 1, 1, 0, 2, 2, 2, 3, 3, 3]);
});
