import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  Device,
  dropout,
  gradients,
  multiply,
  philox,
  type RandomKey,
  randomState,
  scope,
  tensor,
  total,
  uniformValues,
} from './index.ts';

type Counter = readonly [number, number, number, number];

// Random123's kat_vectors, philox4x32 with 10 rounds.
const KNOWN: [Counter, RandomKey, Counter][] = [
  [
    [0, 0, 0, 0],
    [0, 0],
    [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
  ],
  [
    [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    [0xffffffff, 0xffffffff],
    [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  ],
  [
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    [0xa4093822, 0x299f31d0],
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  ],
];

test.each(KNOWN)('the known answer for counter %s and key %s', (counter, key, words) => {
  expect(philox(counter, key)).toEqual([...words]);
});

describe('uniformValues', () => {
  test('lie in [-bound, bound), are of 24 bits, and differ by key and stream', () => {
    const values = uniformValues(4001, 0.5, [3, 4], 0);
    expect(values.every((value) => value >= -0.5 && value < 0.5)).toBe(true);
    expect([...values].every((value) => Number.isInteger(((value / 0.5 + 1) / 2) * 2 ** 24))).toBe(true);
    const average = values.reduce((sum, value) => sum + value, 0) / values.length;
    expect(Math.abs(average)).toBeLessThan(4 * (0.5 / Math.sqrt(3 * values.length)));
    const firsts = [values, uniformValues(1, 0.5, [3, 4], 1), uniformValues(1, 0.5, [3, 5], 0)];
    expect(new Set(firsts.map(([first]) => first)).size).toBe(3);
  });

  test('fewer values are the beginning of more', () => {
    expect([...uniformValues(3, 1, [1, 2], 5)]).toEqual([...uniformValues(9, 1, [1, 2], 5)].slice(0, 3));
  });
});

describe('the dropout kernel', () => {
  let device: Device;
  beforeAll(async () => {
    device = await Device.open();
  });
  afterAll(() => device.close());

  const COUNT = 1003;
  const ones = new Float32Array(COUNT).fill(1);
  /** Which elements are kept, by the host's words. */
  const keptByHost = (key: RandomKey, step: number, stream: number, rate: number) =>
    Array.from({ length: COUNT }, (_, i) => {
      const words = philox([Math.floor(i / 4), step, stream, 0], key);
      return words[i % 4]! >= rate * 2 ** 32;
    });

  test.each<[RandomKey, number, number, number]>([
    [[0, 0], 0, 0, 0.5],
    [[0xa4093822, 0x299f31d0], 0x85a308d3, 0x13198a2e, 0.1],
    [[0xffffffff, 0xffffffff], 0xffffffff, 0xffffffff, 0.9],
  ])('draws the words of the host: key %s, step %i, stream %i, rate %f', async (key, step, stream, rate) => {
    const random = randomState(device, key, step);
    const y = scope(() => dropout(tensor(device, ones), random, rate, stream));
    const scale = Math.fround(1 / (1 - rate));
    expect([...(await y.read())]).toEqual(
      keptByHost(key, step, stream, rate).map((kept) => (kept ? scale : 0)),
    );
    y.dispose();
    random.state.dispose();
  });

  test('setStep draws anew, and the gradient drops the same elements', async () => {
    const random = randomState(device, [1, 2]);
    const x = tensor(device, ones, [COUNT], { trainable: true });
    const g = tensor(
      device,
      Float32Array.from(ones, (_, i) => i + 1),
    );
    const drawn: string[] = [];
    for (const step of [0, 1, 7]) {
      random.setStep(step);
      const { y, gradient } = scope(() => {
        const y = dropout(x, random, 0.4, 3);
        return { y, gradient: gradients(total(multiply(y, g)), [x])[0]! };
      });
      const [kept, slope] = [await y.read(), await gradient.read()];
      drawn.push(kept.join());
      const scale = Math.fround(1 / (1 - 0.4));
      expect([...slope]).toEqual(Array.from(kept, (value, i) => (value ? Math.fround((i + 1) * scale) : 0)));
      y.dispose();
      gradient.dispose();
    }
    expect(new Set(drawn).size).toBe(3);
    for (const each of [x, g, random.state]) each.dispose();
  });

  test('a rate of 1 or below 0 is refused', () => {
    const random = randomState(device, [1, 2]);
    const x = tensor(device, ones);
    for (const rate of [1, -0.1, Number.NaN])
      expect(() => dropout(x, random, rate, 0)).toThrow(`dropout: rate ${rate} is not in [0, 1)`);
    x.dispose();
    random.state.dispose();
  });
});
