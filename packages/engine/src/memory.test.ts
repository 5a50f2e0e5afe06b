import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  add,
  affine,
  attention,
  capture,
  Device,
  EngineError,
  keep,
  matmul,
  max,
  mean,
  mergeLora,
  reshape,
  scope,
  sum,
  type Tensor,
  tensor,
  total,
  zeros,
} from './index.ts';
import { trainingBlock } from './testing/block.ts';

const COMPILING = 240_000;
const MIB = 2 ** 20;

let device: Device;
beforeAll(async () => {
  device = await Device.open();
});
afterAll(() => device.close());

const live = () => device.memory().liveBytes;

describe('training', () => {
  test(
    'holds no more after 200 eager steps than after 10, nor after 1,000 captured ones',
    async () => {
      const before = live();
      const block = trainingBlock(device);
      const eagerStep = (at: number) => {
        block.prepare(at);
        scope(() => {
          block.step();
        });
      };
      for (let at = 0; at < 10; at++) eagerStep(at);
      await device.idle();
      const early = device.memory();
      for (let at = 10; at < 200; at++) eagerStep(at);
      await device.idle();
      expect(device.memory()).toEqual(early);

      const step = capture(device, () => block.step());
      step.replay();
      const captured = device.memory();
      for (let at = 0; at < 1000; at++) {
        block.prepare(at);
        step.replay();
        if (at % 100 === 99) await step.outputs.loss.item();
      }
      expect(device.memory()).toEqual(captured);
      step.dispose();
      block.dispose();
      expect(live()).toBe(before);
    },
    COMPILING,
  );

  test('a forward pass without a tape leaves nothing but its result', async () => {
    const [q, k, v] = [1, 2, 3].map((factor) =>
      tensor(
        device,
        [1, 2, 3, 4].map((x) => x * factor),
        [1, 1, 4],
      ),
    );
    const before = live();
    const y = attention(q!, k!, v!, 1);
    expect(live() - before).toBe(256);
    y.dispose();
    expect(live()).toBe(before);
    for (const each of [q!, k!, v!]) each.dispose();
  });

  test.each<[string, (x: Tensor) => Tensor]>([
    ['sum', (x) => sum(x, 0)],
    ['mean', (x) => mean(x, 1)],
    ['max', (x) => max(x, 0)],
    ['total', (x) => total(x)],
    ['mergeLora', (x) => mergeLora(x, { down: x, up: x, scale: 2 })],
  ])('nor does %s, which is made of several operations', (_, run) => {
    const x = tensor(device, [1, 2, 3, 4], [2, 2]);
    const before = live();
    using y = run(x);
    expect(live() - before).toBe(256);
    y.dispose();
    expect(live()).toBe(before);
    x.dispose();
    expect(live()).toBe(before - 256);
  });

  test('disposing a result frees what its gradient rule had kept', async () => {
    const [q, k, v] = [1, 2, 3].map((factor) =>
      tensor(
        device,
        [1, 2, 3, 4].map((x) => x * factor),
        [1, 1, 4],
        { trainable: true },
      ),
    );
    const before = live();
    attention(q!, k!, v!, 1).dispose();
    expect(live()).toBe(before);
    for (const each of [q!, k!, v!]) each.dispose();
  });
});

describe('scope', () => {
  const x4 = () => tensor(device, [1, 2, 3, 4]);

  test('disposes what is made in it and not returned', () => {
    const before = live();
    let inner!: Tensor;
    const result = scope(() => {
      inner = x4();
      return affine(affine(inner, 2), 3);
    });
    expect(inner.isDisposed).toBe(true);
    expect(result.isDisposed).toBe(false);
    expect(live() - before).toBe(256);
    result.dispose();
    expect(live()).toBe(before);
  });

  test('hands what it returns to the scope around it', () => {
    const before = live();
    let passed!: Tensor;
    scope(() => {
      passed = scope(() => x4());
      expect(passed.isDisposed).toBe(false);
    });
    expect(passed.isDisposed).toBe(true);
    expect(live()).toBe(before);
  });

  test('finds tensors in arrays, plain objects and both nested', () => {
    const result = scope(() => ({ pair: [x4(), x4()], deep: { list: [{ one: x4() }] }, none: null, n: 3 }));
    const found = [...result.pair, result.deep.list[0]!.one];
    expect(found.map((each) => each.isDisposed)).toEqual([false, false, false]);
    for (const each of found) each.dispose();
  });

  test('leaves tensors from outside alone, returned or not', () => {
    const outside = x4();
    expect(scope(() => outside)).toBe(outside);
    scope(() => [outside]);
    expect(outside.isDisposed).toBe(false);
    outside.dispose();
  });

  test('keep() takes a tensor out of every scope', () => {
    let kept!: Tensor;
    scope(() => {
      scope(() => {
        kept = keep(x4());
      });
    });
    expect(kept.isDisposed).toBe(false);
    kept.dispose();
  });

  test('disposes everything when the body throws', () => {
    const before = live();
    expect(() =>
      scope(() => {
        x4();
        throw new RangeError('on purpose');
      }),
    ).toThrow('on purpose');
    expect(live()).toBe(before);
    const after = scope(() => x4());
    after.dispose();
  });

  test('a view keeps the memory of a disposed tensor alive', async () => {
    const before = live();
    const view = scope(() => reshape(x4(), [2, 2]));
    expect([...(await view.read())]).toEqual([1, 2, 3, 4]);
    view.dispose();
    expect(live()).toBe(before);
  });
});

describe('a disposed tensor', () => {
  test('cannot be used, read, written or viewed; disposing it twice is harmless', async () => {
    const x = tensor(device, [1, 2, 3, 4, 5, 6], [2, 3]);
    const other = tensor(device, [1, 2, 3]);
    const before = live();
    x.dispose();
    x.dispose();
    expect(live()).toBe(before - 256);
    const message = /use of a disposed tensor of shape \[2,3\]/;
    expect(() => add(x, other)).toThrow('add: use of a disposed tensor of shape [2,3]');
    expect(() => add(other, x)).toThrow(message);
    expect(() => reshape(x, [6])).toThrow(message);
    expect(() => x.detach()).toThrow(message);
    expect(() => x.write(new Float32Array(6))).toThrow(message);
    await expect(x.read()).rejects.toThrow(message);
    other.dispose();
  });

  test('`using` disposes at the end of its block', () => {
    const before = live();
    {
      using x = tensor(device, [1, 2]);
      expect(x.isDisposed).toBe(false);
      expect(live()).toBeGreaterThan(before);
    }
    expect(live()).toBe(before);
  });
});

describe('destroy', () => {
  /** Everything that a buffer of the pool holds, the bytes past the end of a tensor included. */
  const recycled = async (bytes: number) => {
    const storage = device.allocate(bytes);
    const content = new Float32Array(await device.download(storage, bytes));
    storage.release();
    return [...content];
  };
  const secret = Array.from({ length: 64 }, (_, i) => 1000 + i);

  test('zeroes the memory; dispose() alone does not', async () => {
    const x = tensor(device, secret);
    x.dispose();
    expect(await recycled(256)).toEqual(secret);
    const y = tensor(device, secret);
    y.destroy();
    expect(await recycled(256)).toEqual(secret.map(() => 0));
    expect(y.isDisposed).toBe(true);
    y.destroy();
  });

  test('of a constant ends captured steps that read a copy of it, and leaves the device usable', async () => {
    const weight = tensor(device, secret, [8, 8], { constant: true });
    const view = reshape(weight, [8, 8]);
    const x = zeros(device, [8, 8]);
    const step = capture(device, () => matmul(x, view));
    step.replay();
    weight.destroy();
    // On a software adapter products read texture forms, which are gone; elsewhere the memory itself, which is zeros.
    if (device.adapterClass === 'software')
      expect(() => step.replay()).toThrow('a tensor that the captured step uses was destroyed');
    else step.replay();
    expect([...(await view.read())]).toEqual(secret.map(() => 0));
    for (const each of [step, view, x]) each.dispose();
  });

  test('other views of the memory see zeros', async () => {
    const x = tensor(device, secret);
    const view = reshape(x, [8, 8]);
    x.destroy();
    expect([...(await view.read())]).toEqual(secret.map(() => 0));
    view.dispose();
  });

  test('leaves no copy in the memory of a captured step that read it', async () => {
    const weight = tensor(device, secret, [8, 8], { trainable: true });
    const x = zeros(device, [8, 8]);
    const textures = texturesTaken();
    const step = capture(device, () => affine(add(matmul(x, weight), affine(weight, 2)), 1));
    step.replay();
    await device.idle();
    weight.destroy();
    step.dispose();
    for (let i = 0; i < 20; i++) expect(await recycled(256)).not.toContain(2 * secret[5]!);
    const found = await textures.contents();
    expect(found.filter((value) => secret.includes(value))).toEqual([]);
    x.dispose();
  });

  /** Watches which sizes of textures are taken, and reads what recycled ones hold. */
  function texturesTaken() {
    const sizes = new Set<string>();
    const take = device.takeTexture.bind(device);
    device.takeTexture = (width, height) => {
      sizes.add(`${width}x${height}`);
      return take(width, height);
    };
    const contents = async () => {
      const found: number[] = [];
      for (const size of sizes) {
        const [width, height] = size.split('x').map(Number) as [number, number];
        for (let i = 0; i < 4; i++) {
          const staging = device.gpu.createBuffer({ size: width * height * 16, usage: 0x0001 | 0x0008 });
          const encoder = device.gpu.createCommandEncoder();
          encoder.copyTextureToBuffer(
            { texture: take(width, height) },
            { buffer: staging, bytesPerRow: width * 16 },
            [width, height],
          );
          device.gpu.queue.submit([encoder.finish()]);
          await staging.mapAsync(0x0001);
          found.push(...new Float32Array(staging.getMappedRange()).slice(0, 256));
          staging.destroy();
        }
      }
      return found;
    };
    return { contents };
  }
});

describe('the pool', () => {
  test('hands the same buffers out again', async () => {
    const before = device.memory().buffers;
    for (let i = 0; i < 50; i++) {
      using x = zeros(device, [300_000]);
      using _y = affine(x, 2);
    }
    expect(device.memory().buffers - before).toBeLessThanOrEqual(2);
  });

  test('reports live, pooled and peak bytes', async () => {
    using small = await Device.open();
    const [a, b] = [zeros(small, [MIB / 4]), zeros(small, [MIB / 4])];
    expect(small.memory()).toMatchObject({
      liveBytes: 2 * MIB,
      pooledBytes: 0,
      peakBytes: 2 * MIB,
      buffers: 2,
    });
    a.dispose();
    b.dispose();
    const c = zeros(small, [MIB / 4]);
    expect(small.memory()).toMatchObject({
      liveBytes: MIB,
      pooledBytes: MIB,
      peakBytes: 2 * MIB,
      buffers: 2,
    });
    c.dispose();
  });

  test('keeps no more than its limit, buffers and texture forms together', async () => {
    using small = await Device.open({ poolLimitBytes: MIB });
    const x = zeros(small, [4, 4]);
    for (let rows = 1; rows <= 8; rows++) {
      // Every size is new: nothing of it will ever be reused.
      scope(() => matmul(zeros(small, [rows * 4096, 4]), x)).dispose();
      await small.idle();
    }
    const { liveBytes, pooledBytes, textureBytes } = small.memory();
    expect(liveBytes).toBe(256);
    expect(pooledBytes).toBeLessThanOrEqual(MIB);
    expect(textureBytes).toBeLessThanOrEqual(MIB + 1024 * 16);
  });

  test('a tensor over the buffer limit is refused, with its shape, size and maker', () => {
    const limit = device.gpu.limits.maxBufferSize;
    const rows = Math.ceil(limit / 4096) + 1;
    const refused = () => zeros(device, [rows, 1024]);
    expect(refused).toThrow(EngineError);
    const over = `of ${rows * 4096} bytes is over this adapter's buffer limit of ${limit}`;
    expect(refused).toThrow(`a tensor of shape [${rows},1024] ${over}`);
    const [x, y] = [zeros(device, [rows, 1]), zeros(device, [1, 1024])];
    expect(() => add(x, y)).toThrow(`the result of add of shape [${rows},1024] ${over}`);
    x.dispose();
    y.dispose();
  });

  test('a closed device refuses work, and what lived on it may still be disposed', async () => {
    const other = await Device.open();
    const x = tensor(other, [1, 2, 3]);
    other.close();
    other.close();
    expect(() => affine(x, 2)).toThrow('use of a closed device');
    await expect(x.read()).rejects.toThrow('use of a closed device');
    x.dispose();
  });
});
