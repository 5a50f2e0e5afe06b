import { afterEach, describe, expect, test, vi } from 'vitest';
import {
  cast,
  Device,
  EngineError,
  layerNorm,
  linear,
  matmul,
  quantise,
  scope,
  tensor,
  uniformValues,
  zeros,
} from './index.ts';

// What an operation takes for itself is given back where one of its launches fails, and nothing half-made passes for a value.

afterEach(() => vi.restoreAllMocks());

/** Lets the launches of one kernel fail. */
function failLaunchesOf(device: Device, refused: string) {
  const dispatch = device.dispatch.bind(device);
  return vi.spyOn(device, 'dispatch').mockImplementation((kernel, call) => {
    if (kernel === refused) throw new EngineError(`no ${kernel}`);
    dispatch(kernel, call);
  });
}

describe('memory after a launch that failed', () => {
  test('the f32 copies of what is stored as f16', async () => {
    using device = await Device.open({ bindingLimitBytes: 1024 });
    using x = scope(() => cast(zeros(device, [4, 1024]), 'f16'));
    using scale = zeros(device, [1024]);
    const failing = () => scope(() => layerNorm(x, scale, scale, 1e-5));
    const { liveBytes } = device.memory();
    for (let i = 0; i < 3; i++) expect(failing).toThrow('binding limit of 1024');
    expect(device.memory().liveBytes).toBe(liveBytes);
    failLaunchesOf(device, 'quantised/unpack');
    expect(failing).toThrow('no quantised/unpack');
    expect(device.memory().liveBytes).toBe(liveBytes);
  });

  test('the texture form of a frozen weight', async () => {
    using device = await Device.open();
    using weight = quantise(device, uniformValues(4096, 1, [1, 1], 0), [64, 64], 'int8');
    using x = zeros(device, [64, 64]);
    using bias = zeros(device, [64]);
    const dispatch = device.dispatch.bind(device);
    const kernels = new Set<string>();
    const watching = vi.spyOn(device, 'dispatch').mockImplementation((kernel, call) => {
      kernels.add(kernel);
      dispatch(kernel, call);
    });
    scope(() => linear(x, weight, bias)).dispose();
    watching.mockRestore();
    const { liveBytes, textureBytes } = device.memory();
    for (const kernel of kernels) {
      const refusal = failLaunchesOf(device, kernel);
      for (let i = 0; i < 3; i++) expect(() => scope(() => linear(x, weight, bias))).toThrow(`no ${kernel}`);
      refusal.mockRestore();
    }
    expect(device.memory()).toMatchObject({ liveBytes, textureBytes });
  });
});

test('a texture form whose filling failed is filled by the next product', async () => {
  using device = await Device.open({ adapterClass: 'software' });
  const operand = (stream: number) => uniformValues(15, 1, [2, 1], stream);
  using a = tensor(device, operand(0), [3, 5]);
  using b = tensor(device, operand(1), [5, 3], { constant: true });
  const refusal = failLaunchesOf(device, 'matmul/pad');
  expect(() => scope(() => matmul(a, b))).toThrow('no matmul/pad');
  refusal.mockRestore();
  using found = scope(() => matmul(a, b));
  using expected = scope(() =>
    matmul(tensor(device, operand(0), [3, 5]), tensor(device, operand(1), [5, 3])),
  );
  expect(await found.read()).toEqual(await expected.read());
});
