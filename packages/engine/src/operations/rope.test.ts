import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  Device,
  EngineError,
  type RopeOptions,
  rope,
  ropeFrequencies,
  ropeTable,
  ShapeError,
  scope,
  slice,
  tensor,
  uniformValues,
} from '../index.ts';
import { bitsOf } from '../testing/block.ts';

let device: Device;
beforeAll(async () => {
  device = await Device.open();
});
afterAll(() => device.close());

/** Llama 3.2 1B. */
const LLAMA: RopeOptions = {
  headWidth: 64,
  positions: 4096,
  theta: 500_000,
  scaling: { factor: 32, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalPositions: 8192 },
};

test('the table holds the rounded cosines and sines of position * theta^(-2 i / width)', async () => {
  const [headWidth, positions, theta] = [40, 3000, 10_000];
  const table = ropeTable(device, { headWidth, positions, theta });
  const found = await table.read();
  const half = headWidth / 2;
  const expected = Float32Array.from(found, (_, at) => {
    const i = at % headWidth;
    const angle = Math.floor(at / headWidth) * theta ** ((-2 * (i % half)) / headWidth);
    return i < half ? Math.cos(angle) : Math.sin(angle);
  });
  // The angle itself is rounded: at 3,000 radians to 2^-42.
  expect(found.every((value, at) => Math.abs(value - expected[at]!) < 1.3e-7)).toBe(true);
  expect(found.filter((value, at) => value !== expected[at]).length).toBeLessThan(found.length / 10_000);
  table.dispose();
});

test('linear scaling divides every frequency by the factor', () => {
  const plain = ropeFrequencies({ ...LLAMA, scaling: undefined });
  expect(ropeFrequencies({ ...LLAMA, scaling: { factor: 3 } })).toEqual(plain.map((each) => each / 3));
});

test('frequencies are scaled as Llama 3 scales them', () => {
  const scaled = ropeFrequencies(LLAMA);
  const plain = ropeFrequencies({ ...LLAMA, scaling: undefined });
  // Wavelengths up to 8192 / 4 stay, those over 8192 are 32 times as long.
  scaled.forEach((frequency, i) => {
    const wavelength = (2 * Math.PI) / 500_000 ** ((-2 * i) / 64);
    if (wavelength < 2048) expect(frequency).toBe(plain[i]);
    else if (wavelength > 8192) expect(frequency).toBe(plain[i]! / 32);
    else {
      const smooth = (8192 / wavelength - 1) / 3;
      const expected = ((1 - smooth) * plain[i]!) / 32 + smooth * plain[i]!;
      expect(Math.abs(frequency / expected - 1)).toBeLessThan(1e-12);
    }
  });
  const kinds = scaled.map((frequency, i) => plain[i]! / frequency);
  expect(
    new Set([...kinds].map((ratio) => (ratio === 1 ? 'same' : ratio === 32 ? 'long' : 'between'))),
  ).toEqual(new Set(['same', 'between', 'long']));
});

test('tokens from a position on have the bits they have in the whole sequence', async () => {
  const [tokens, width] = [11, 16];
  const table = ropeTable(device, { headWidth: 8, positions: tokens });
  const x = tensor(device, uniformValues(2 * tokens * width, 2, [1, 7], 0), [2, tokens, width]);
  const start = tensor(device, Uint32Array.of(7, 7));
  const [expected, found] = scope(() => [
    slice(rope(x, table), 1, 7, 4),
    rope(slice(x, 1, 7, 4), table, start),
  ]);
  expect(bitsOf(await found!.read())).toBe(bitsOf(await expected!.read()));
  for (const each of [expected!, found!, table, x, start]) each.dispose();
});

test('what does not fit is named', () => {
  const x = (...shape: number[]) => tensor(device, new Float32Array(shape.reduce((a, b) => a * b)), shape);
  expect(() => rope(x(2, 3, 12), x(5, 8))).toThrow(
    new ShapeError('rope: axis 2 of x [2,3,12] is not whole heads of axis 1 of table [5,8]'),
  );
  expect(() => rope(x(2, 6, 8), x(5, 8))).toThrow(
    new ShapeError('rope: axis 1 of x [2,6,8] has more tokens than table [5,8] has positions'),
  );
  expect(() => rope(x(2, 3, 8), x(5, 8), tensor(device, new Uint32Array(3)))).toThrow(
    new ShapeError('rope: start [3] is not [batch] of x [2,3,8]'),
  );
  expect(() => ropeTable(device, { headWidth: 12, positions: 4 })).toThrow(
    new EngineError('ropeTable: headWidth 12 is not a multiple of eight'),
  );
  expect(() => ropeTable(device, { headWidth: 8, positions: 0 })).toThrow(/positions 0 is not in/);
  expect(() => ropeTable(device, { headWidth: 8, positions: 4, theta: -1 })).toThrow(/theta -1/);
});
