import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  AdamW,
  type AdamWOptions,
  Device,
  type Shape,
  scope,
  type Tensor,
  tensor,
  uniformValues,
} from './index.ts';
import { sizeOf } from './tensor.ts';

let device: Device;
beforeAll(async () => {
  device = await Device.open();
});
afterAll(() => device.close());

const SHAPES: Shape[] = [[7], [3, 5], [1], [40, 9]];
const start = () => SHAPES.map((shape, i) => uniformValues(sizeOf(shape), 1, [1, 2], i));
const gradientsAt = (step: number) =>
  SHAPES.map((shape, i) => uniformValues(sizeOf(shape), 0.5 + step / 10, [3, step], i));
const rateAt = (step: number) => 0.1 / (1 + step);

/** AdamW in float64 with PyTorch's clipping (`clip_grad_norm_`). */
function reference(steps: number, options: AdamWOptions): { parameters: number[][]; clipped: number } {
  const { betas: [b1, b2] = [0.9, 0.999], epsilon = 1e-8, weightDecay = 0.01, clipNorm } = options;
  const parameters = start().map((values) => [...values]);
  const first = parameters.map((values) => values.map(() => 0));
  const second = parameters.map((values) => values.map(() => 0));
  let clipped = 0;
  for (let step = 0; step < steps; step++) {
    const gradients = gradientsAt(step);
    const norm = Math.sqrt(gradients.reduce((sum, g) => sum + g.reduce((a, v) => a + v * v, 0), 0));
    const clip = clipNorm === undefined ? 1 : Math.min(1, clipNorm / (norm + 1e-6));
    if (clip < 1) clipped++;
    gradients.forEach((values, i) => {
      values.forEach((value, j) => {
        const g = value * clip;
        first[i]![j] = b1 * first[i]![j]! + (1 - b1) * g;
        second[i]![j] = b2 * second[i]![j]! + (1 - b2) * g * g;
        const mean = first[i]![j]! / (1 - b1 ** (step + 1));
        const square = second[i]![j]! / (1 - b2 ** (step + 1));
        const p = parameters[i]![j]!;
        parameters[i]![j] = p - rateAt(step) * (weightDecay * p + mean / (Math.sqrt(square) + epsilon));
      });
    });
  }
  return { parameters, clipped };
}

async function onDevice(steps: number, options: AdamWOptions): Promise<number[][]> {
  const parameters = start().map((values, i) => tensor(device, values, SHAPES[i]!, { trainable: true }));
  const optimiser = new AdamW(device, parameters, options);
  for (let step = 0; step < steps; step++) {
    optimiser.begin(rateAt(step));
    scope(() => optimiser.apply(gradientsAt(step).map((values, i) => tensor(device, values, SHAPES[i]!))));
  }
  const result: number[][] = [];
  for (const parameter of parameters) result.push([...(await parameter.read())]);
  optimiser.dispose();
  for (const parameter of parameters) parameter.dispose();
  return result;
}

const largestDifference = (a: number[][], b: number[][]) =>
  Math.max(...a.flatMap((values, i) => values.map((value, j) => Math.abs(value - b[i]![j]!))));

describe('AdamW against float64, 20 steps', () => {
  test.each<[string, AdamWOptions, number]>([
    ['defaults', {}, 0],
    ['without decay', { weightDecay: 0 }, 0],
    ['other betas, epsilon and decay', { betas: [0.8, 0.95], epsilon: 1e-3, weightDecay: 0.3 }, 0],
    ['clipped in every step', { clipNorm: 0.5 }, 20],
    ['clipped in some steps', { clipNorm: 16 }, 10],
  ])('%s', async (_name, options, clipped) => {
    const expected = reference(20, options);
    const actual = await onDevice(20, options);
    if (clipped === 10) {
      expect(expected.clipped).toBeGreaterThan(0);
      expect(expected.clipped).toBeLessThan(20);
    } else expect(expected.clipped).toBe(clipped);
    expect(largestDifference(actual, expected.parameters)).toBeLessThan(3e-6);
  });
});

test('the cases above tell the options apart', () => {
  const plain = reference(20, {}).parameters;
  for (const options of [
    { weightDecay: 0 },
    { betas: [0.8, 0.95] as const },
    { epsilon: 1e-3 },
    { clipNorm: 0.5 },
  ])
    expect(largestDifference(plain, reference(20, options).parameters)).toBeGreaterThan(1e-4);
});

test('a gradient of zero leaves a parameter without decay exactly as it is', async () => {
  const parameter = tensor(device, [1.5, -2.25, 3e-20], [3], { trainable: true });
  const optimiser = new AdamW(device, [parameter], { weightDecay: 0, clipNorm: 1 });
  for (let step = 0; step < 3; step++) {
    optimiser.begin(0.1);
    scope(() => optimiser.apply([tensor(device, [0, 0, 0])]));
  }
  expect([...(await parameter.read())]).toEqual([1.5, -2.25, Math.fround(3e-20)]);
  optimiser.dispose();
  parameter.dispose();
});

test('dispose() frees the state and zeroes the moments', async () => {
  const before = device.memory().liveBytes;
  const parameter: Tensor = tensor(device, new Float32Array(64).fill(1), [64], { trainable: true });
  const held = device.memory().liveBytes;
  const optimiser = new AdamW(device, [parameter]);
  optimiser.begin(0.1);
  scope(() => optimiser.apply([tensor(device, new Float32Array(64).fill(3))]));
  await device.idle();
  optimiser.dispose();
  expect(device.memory().liveBytes).toBe(held);
  const [mean, square] = [device.allocate(256), device.allocate(256)];
  const found = [mean, square, device.allocate(256)];
  const values: number[] = [];
  for (const storage of found) values.push(...new Float32Array(await device.download(storage, 256)));
  // 0.1 * 3 and 0.001 * 9: what the moments held.
  expect(values.filter((value) => Math.abs(value - 0.3) < 1e-5 || Math.abs(value - 0.009) < 1e-5)).toEqual(
    [],
  );
  for (const storage of found) storage.release();
  parameter.dispose();
  expect(device.memory().liveBytes).toBe(before);
});
