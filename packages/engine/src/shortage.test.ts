import { afterEach, describe, expect, test, vi } from 'vitest';
import { affine, capture, Device, EngineError, empty, matmul, scope, tensor, zeros } from './index.ts';
import { trainedBits } from './testing/block.ts';

const MIB = 2 ** 20;

/** Lets the device refuse buffers of the given size, as it does where memory is short. */
function refuse(device: Device, bytes: number) {
  const create = device.gpu.createBuffer.bind(device.gpu);
  return vi.spyOn(device.gpu, 'createBuffer').mockImplementation((descriptor) => {
    if (descriptor.size !== bytes) return create(descriptor);
    // Lavapipe takes no buffer of the whole limit, which is no multiple of its pages.
    const refused = create({ ...descriptor, size: device.gpu.limits.maxBufferSize });
    return Object.defineProperty(refused, 'size', { value: bytes });
  });
}

async function refusesTheLimit(): Promise<boolean> {
  using device = await Device.open();
  device.gpu.pushErrorScope('out-of-memory');
  device.gpu.createBuffer({ size: device.gpu.limits.maxBufferSize, usage: 0x0080 }).destroy();
  return (await device.gpu.popErrorScope()) !== null;
}

afterEach(() => vi.restoreAllMocks());

describe.skipIf(!(await refusesTheLimit()))('out of memory', () => {
  test('the error names the tensor; whatever did not depend on it goes on, to the same bits', async () => {
    using device = await Device.open();
    const expected = await trainedBits(device, 3);
    const kept = tensor(device, [1, 2, 3, 4]);
    const before = affine(kept, 2);
    const pooled = device.memory().pooledBytes;
    expect(pooled).toBeGreaterThan(0);
    const live = device.memory().liveBytes;

    const refusal = refuse(device, 4 * MIB);
    const big = empty(device, [1024, 1024]);
    // One depends on it, one is queued beside it.
    const [dependent, beside] = [affine(big, 3), affine(kept, 5)];
    const failure = await big.read().catch((error: unknown) => error);
    refusal.mockRestore();
    expect(failure).toBeInstanceOf(EngineError);
    expect((failure as EngineError).message).toMatch(
      /^out of memory: a tensor of shape \[1024,1024\], 4194304 bytes; tensors hold \d+ with it$/,
    );
    // What was pooled is free for the next attempt.
    expect(device.memory().pooledBytes).toBeLessThan(pooled);
    await expect(dependent.read()).rejects.toThrow('out of memory: a tensor of shape [1024,1024]');
    await expect(beside.read()).rejects.toThrow('out of memory');
    expect(() => affine(dependent, 2)).toThrow('out of memory');
    expect([...(await before.read())]).toEqual([2, 4, 6, 8]);

    // The next attempt is granted.
    for (const each of [big, dependent, beside]) each.dispose();
    expect(device.memory().liveBytes).toBe(live);
    await expect(device.idle()).rejects.toThrow('out of memory');
    await device.idle();
    using again = zeros(device, [1024, 1024]);
    expect((await again.read()).every((value) => value === 0)).toBe(true);
    using next = affine(kept, 5);
    expect([...(await next.read())]).toEqual([5, 10, 15, 20]);
    expect(await trainedBits(device, 3)).toEqual(expected);
    for (const each of [kept, before]) each.dispose();
  });

  test('the result of an operation is named by it', async () => {
    using device = await Device.open();
    const [x, y] = [zeros(device, [1024, 1]), zeros(device, [1, 1024])];
    refuse(device, 4 * MIB);
    using product = scope(() => matmul(x, y));
    await expect(product.read()).rejects.toThrow('out of memory: the result of matmul of shape [1024,1024]');
    for (const each of [x, y]) each.dispose();
  });

  test('a captured step without memory cannot be replayed to any effect, and is named', async () => {
    using device = await Device.open();
    const x = zeros(device, [1024, 256]);
    await device.idle();
    const refusal = refuse(device, MIB);
    const step = capture(device, () => affine(affine(x, 2), 1));
    step.replay();
    await expect(step.outputs.read()).rejects.toThrow('out of memory: memory of a captured step');
    refusal.mockRestore();
    step.dispose();
    const second = capture(device, () => affine(affine(x, 2, 1), 1));
    second.replay();
    expect((await second.outputs.read()).every((value) => value === 1)).toBe(true);
    second.dispose();
    x.dispose();
  });
});

describe('a lost device', () => {
  test('says so in everything that is asked of it, and another can be opened', async () => {
    const device = await Device.open();
    const x = tensor(device, [1, 2, 3]);
    const expected = await trainedBits(device, 3);
    device.gpu.destroy();
    await expect(x.read()).rejects.toThrow(/^the device was lost: .*; open another$/);
    expect(() => affine(x, 2)).toThrow('the device was lost');
    await expect(device.idle()).rejects.toThrow('the device was lost');
    expect((await device.lost).message).toMatch('the device was lost');
    x.dispose();
    device.close();
    using other = await Device.open();
    expect(await trainedBits(other, 3)).toEqual(expected);
  });

  test('while a value is being read', async () => {
    using device = await Device.open();
    const reading = affine(zeros(device, [MIB]), 2).read();
    device.gpu.destroy();
    await expect(reading).rejects.toThrow(/the device was lost/);
  });
});
