import { afterEach, describe, expect, test, vi } from 'vitest';
import {
  affine,
  capture,
  Device,
  EngineError,
  empty,
  fill,
  matmul,
  scope,
  slice,
  tensor,
  zeros,
} from './index.ts';
import { trainedBits } from './testing/block.ts';
import { refuse, refusesTheLimit } from './testing/refusal.ts';

const MIB = 2 ** 20;

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

describe.skipIf(!(await refusesTheLimit()))('no memory to read into', () => {
  test('fails that reading only, by the name of the tensor', async () => {
    using device = await Device.open();
    using x = fill(device, [512, 1024], 3);
    await device.idle();
    const refusal = refuse(device, 2 * MIB, 0x0001);
    // Queued beside it, before and after.
    using before = affine(x, 2);
    const failing = x.read().catch((error: unknown) => error);
    using after = affine(before, 2);
    using small = slice(after, 0, 0, 1);
    const read = small.read();
    const failure = await failing;
    expect(failure).toBeInstanceOf(EngineError);
    expect((failure as EngineError).message).toMatch(
      /^out of memory: reading a tensor of shape \[512,1024\], 2097152 bytes; tensors hold \d+$/,
    );
    expect((await read).every((value) => value === 12)).toBe(true);
    await expect(after.read()).rejects.toThrow('out of memory: reading');
    refusal.mockRestore();
    await device.idle();
    expect((await x.read()).every((value) => value === 3)).toBe(true);
    expect((await after.read()).every((value) => value === 12)).toBe(true);
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
