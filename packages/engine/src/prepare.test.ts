import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import {
  capture,
  Device,
  gelu,
  layerNorm,
  matmul,
  prepare,
  type Tensor,
  tensor,
  uniformValues,
} from './index.ts';

let device: Device;
let x: Tensor;
let weight: Tensor;
let bias: Tensor;

beforeEach(async () => {
  device = await Device.open();
  x = tensor(device, uniformValues(48 * 32, 1, [1, 0], 0), [48, 32]);
  weight = tensor(device, uniformValues(32 * 32, 1, [2, 0], 0), [32, 32]);
  bias = tensor(device, uniformValues(32, 1, [3, 0], 0), [32]);
});
afterEach(() => {
  device.close();
  vi.restoreAllMocks();
});

const step = () => gelu(layerNorm(matmul(x, weight), bias, bias, 1e-5));

test('what was prepared is captured and runs without compiling anything', async () => {
  const before = device.memory().liveBytes;
  await prepare(device, step);
  expect(device.memory().liveBytes).toBe(before);
  const compile = vi.spyOn(device.gpu, 'createComputePipeline');
  const captured = capture(device, step);
  captured.replay();
  const values = await captured.outputs.read();
  expect(compile).not.toHaveBeenCalled();
  const other = await Device.open();
  try {
    [x, weight, bias] = (await Promise.all(
      [x, weight, bias].map(async (t) => tensor(other, await t.read(), [...t.shape])),
    )) as [Tensor, Tensor, Tensor];
    expect(await step().read()).toEqual(values);
  } finally {
    other.close();
  }
});

test('where it cannot be compiled aside, that is told by what uses it', async () => {
  vi.spyOn(device.gpu, 'createComputePipelineAsync').mockRejectedValue(new Error('no thread'));
  await prepare(device, step);
  expect((await step().read()).every(Number.isFinite)).toBe(true);
});
