import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { capture } from './capture.ts';
import {
  add,
  affine,
  attention,
  crossEntropy,
  Device,
  gradients,
  keep,
  matmul,
  multiply,
  prepare,
  reshape,
  scope,
  type Tensor,
  tensor,
  total,
  zeros,
} from './index.ts';
import type { Storage } from './storage.ts';
import { bitsOf, bitsOfAll, trainingBlock } from './testing/block.ts';

const COMPILING = 240_000;

let device: Device;
beforeAll(async () => {
  device = await Device.open();
});
afterAll(() => device.close());

/** A training block, and the storages of its optimiser's moments. */
function blockWithState() {
  const made: [Storage, bytes: number][] = [];
  const allocate = device.allocate.bind(device);
  const spy = vi.spyOn(device, 'allocate').mockImplementation((bytes) => {
    const storage = allocate(bytes);
    made.push([storage, bytes]);
    return storage;
  });
  const block = trainingBlock(device);
  spy.mockRestore();
  const state = async () => {
    const bits: string[] = [];
    for (const each of made) bits.push(bitsOf(new Float32Array(await device.download(...each))));
    return bits;
  };
  return { block, state };
}

describe('a captured training step', () => {
  test(
    'equals the eager step bit for bit: loss, logits, parameters and optimiser state over 30 steps',
    async () => {
      const [eager, captured] = [blockWithState(), blockWithState()];
      const step = capture(device, () => captured.block.step());
      let allocatedByEager = 0;
      const losses: string[] = [];
      for (let at = 0; at < 30; at++) {
        eager.block.prepare(at);
        const spy = vi.spyOn(device, 'allocate');
        const expected = scope(() => eager.block.step());
        allocatedByEager = spy.mock.results.reduce((sum, { value }) => sum + Math.max(256, value.bytes), 0);
        spy.mockRestore();
        captured.block.prepare(at);
        step.replay();
        const expectedBits = await bitsOfAll(Object.values(expected));
        expect(await bitsOfAll(Object.values(step.outputs)), `step ${at}`).toEqual(expectedBits);
        losses.push(expectedBits[0]!);
        for (const output of Object.values(expected)) output.dispose();
      }
      // Everything the block holds: parameters, both moments, and what is uploaded per step.
      expect(await captured.state()).toEqual(await eager.state());
      expect(new Set(losses).size).toBe(30);
      expect(step.arenaBytes).toBeGreaterThan(0);
      expect(step.arenaBytes).toBeLessThan(allocatedByEager);
      step.dispose();
      captured.block.dispose();
      eager.block.dispose();
    },
    COMPILING,
  );
});

test('values of a step share memory where their lives do not overlap', async () => {
  const x = tensor(device, new Float32Array(1000).fill(1));
  const step = capture(device, () => {
    let y = x;
    for (let i = 0; i < 40; i++) y = affine(y, 1, 1);
    return y;
  });
  step.replay();
  expect((await step.outputs.read())[999]).toBe(41);
  // Two that take turns, and at most one more for the result.
  expect(step.arenaBytes).toBeLessThanOrEqual(3 * 4096);
  const small = capture(device, () => [1, 2, 3, 4, 5].reduce((y) => total(affine(y, 2)), total(x)));
  expect(small.arenaBytes).toBeLessThanOrEqual(6 * 256 + 4096);
  for (const each of [step, small, x]) each.dispose();
});

const values = (...numbers: number[]) => Float32Array.from(numbers);
const square4 = (factor: number) => Float32Array.from({ length: 16 }, (_, i) => factor * (i - 7));

/** A product in float64. */
function product(a: Float32Array, b: Float32Array, inner = 4): number[] {
  return Array.from({ length: (a.length / inner) * inner }, (_, at) => {
    const [row, column] = [Math.floor(at / inner), at % inner];
    let dot = 0;
    for (let k = 0; k < inner; k++) dot += a[row * inner + k]! * b[k * inner + column]!;
    return dot;
  });
}

describe('outputs', () => {
  test('keep their values until the next replay, whatever runs between', async () => {
    const x = tensor(device, values(1, 2, 3, 4));
    const first = capture(device, () => affine(affine(x, 2), 1, 1));
    const second = capture(device, () => affine(affine(x, -1), 1, 5));
    first.replay();
    second.replay();
    for (let i = 0; i < 20; i++) scope(() => affine(affine(x, 100 + i), 7));
    expect([...(await first.outputs.read())]).toEqual([3, 5, 7, 9]);
    expect([...(await second.outputs.read())]).toEqual([4, 3, 2, 1]);
    expect([...(await first.outputs.read())]).toEqual([3, 5, 7, 9]);
    for (const each of [first, second, x]) each.dispose();
  });

  test('follow inputs that are rewritten between replays', async () => {
    const x = tensor(device, values(1, 2, 3, 4));
    const step = capture(device, () => ({ doubled: affine(x, 2) }));
    for (const data of [values(1, 2, 3, 4), values(5, 6, 7, 8), values(-1, 0, 0.5, 9)]) {
      x.write(data);
      step.replay();
      expect([...(await step.outputs.doubled.read())]).toEqual([...data].map((value) => 2 * value));
    }
    step.dispose();
    x.dispose();
  });

  test('cannot be read or used before the first replay', async () => {
    const x = tensor(device, values(1, 2, 3, 4));
    const step = capture(device, () => affine(x, 2));
    await expect(step.outputs.read()).rejects.toThrow(/captured step.*before the first replay/);
    expect(() => scope(() => affine(step.outputs, 2))).toThrow(/before the first replay/);
    expect(() => scope(() => matmul(tensor(device, square4(1), [4, 4]), tall(step.outputs)))).toThrow(
      /before the first replay/,
    );
    step.replay();
    expect([...(await step.outputs.read())]).toEqual([2, 4, 6, 8]);
    step.dispose();
    x.dispose();
  });

  test('a tensor that the step keeps without returning it has memory of its own', async () => {
    const x = tensor(device, values(1, 2, 3, 4));
    let kept!: Tensor;
    const step = capture(device, () => {
      kept = keep(affine(x, 2));
      return affine(affine(affine(kept, 2), 2), 2);
    });
    step.replay();
    expect([...(await kept.read())]).toEqual([2, 4, 6, 8]);
    expect([...(await step.outputs.read())]).toEqual([16, 32, 48, 64]);
    step.dispose();
    x.dispose();
  });

  test('an output may be disposed early: the step goes on without it', async () => {
    const x = tensor(device, [1, 2, 3, 4]);
    const labels = tensor(device, Uint32Array.of(1));
    const weights = tensor(device, [1]);
    const step = capture(device, () => {
      const logits = reshape(affine(x, 2), [1, 4]);
      return { loss: crossEntropy(logits, labels, weights), doubled: affine(x, 2) };
    });
    step.outputs.loss.dispose();
    step.replay();
    step.replay();
    expect([...(await step.outputs.doubled.read())]).toEqual([2, 4, 6, 8]);
    await expect(step.outputs.loss.read()).rejects.toThrow(/disposed tensor/);
    for (const each of [step, x, labels, weights]) each.dispose();
  });

  test('another view of an output does not see recycled memory once the step is disposed', async () => {
    const x = tensor(device, values(1, 2, 3, 4));
    const step = capture(device, () => affine(x, 2));
    step.replay();
    const view = step.outputs.detach();
    expect([...(await view.read())]).toEqual([2, 4, 6, 8]);
    step.dispose();
    await expect(view.read()).rejects.toThrow(/captured step.*disposed/);
    await expect(step.outputs.read()).rejects.toThrow(/use of a disposed tensor/);
    x.dispose();
  });
});

/** Four values as a column of a [4, 4] matrix that is repeated. */
function tall(x: Tensor): Tensor {
  return matmul(x.shape.length === 2 ? x : add(zeros(device, [4, 4]), x), tensor(device, square4(0), [4, 4]));
}

test('short replays share submits, and run in their order', async () => {
  using sum = zeros(device, [4]);
  using one = tensor(device, [1, 1, 1, 1]);
  const step = capture(device, () => {
    const { storage: source } = add(affine(sum, 2), one);
    device.run({ kind: 'copy', source, sourceOffset: 0, target: sum.storage, targetOffset: 0, bytes: 16 });
  });
  await device.idle();
  const submit = vi.spyOn(device.gpu.queue, 'submit');
  try {
    for (let i = 0; i < 10; i++) step.replay();
    expect(submit).toHaveBeenCalledTimes(0);
    // Each doubles and adds one.
    expect([...(await sum.read())]).toEqual([1023, 1023, 1023, 1023]);
    expect(submit).toHaveBeenCalledTimes(1);
    one.write(Float32Array.of(0, 0, 0, 0));
    step.replay();
    one.write(Float32Array.of(1, 1, 1, 1));
    expect([...(await sum.read())]).toEqual([2046, 2046, 2046, 2046]);
    submit.mockClear();
    for (let i = 0; i < 30; i++) step.replay();
    // So many are not kept from a device that could begin.
    expect(submit).toHaveBeenCalled();
  } finally {
    submit.mockRestore();
    step.dispose();
  }
});

describe('what a step may not do', () => {
  test.each<[string, (x: Tensor) => unknown, RegExp]>([
    ['upload a new tensor', () => tensor(device, values(1, 2)), /uploaded inside a captured step/],
    ['write to a tensor made before', (x) => x.write(values(9, 9, 9, 9)), /uploaded inside a captured step/],
    [
      'write to a tensor of the step',
      (x) => affine(x, 2).write(values(1, 2, 3, 4)),
      /inside a captured step/,
    ],
    ['capture another step', (x) => capture(device, () => affine(x, 2)), /already being captured/],
    ['be asynchronous', async () => {}, /must not be asynchronous/],
  ])('%s', async (_what, body, message) => {
    const x = tensor(device, values(1, 2, 3, 4));
    expect(() =>
      capture(device, () => {
        affine(x, 3);
        return body(x);
      }),
    ).toThrow(message);
    // The failed capture leaves nothing behind: x is untouched, and the device runs and captures as before.
    expect([...(await x.read())]).toEqual([1, 2, 3, 4]);
    const step = capture(device, () => affine(x, 2));
    step.replay();
    expect([...(await step.outputs.read())]).toEqual([2, 4, 6, 8]);
    step.dispose();
    x.dispose();
  });

  test('read a value', async () => {
    const x = tensor(device, values(1, 2, 3, 4));
    let reading!: Promise<unknown>;
    const step = capture(device, () => {
      reading = x.read();
      reading.catch(() => {});
      return affine(x, 2);
    });
    await expect(reading).rejects.toThrow(/cannot be read inside a captured step/);
    step.dispose();
    x.dispose();
  });
});

describe('a step whose tensors are gone', () => {
  test('cannot be replayed after dispose()', () => {
    const x = tensor(device, values(1, 2, 3, 4));
    const step = capture(device, () => affine(x, 2));
    step.replay();
    step.dispose();
    step.dispose();
    expect(() => step.replay()).toThrow(/captured step.*disposed/);
    x.dispose();
  });

  test('cannot be replayed once an input is disposed: the memory may be another tensor by then', async () => {
    const x = tensor(device, values(1, 2, 3, 4));
    const target = tensor(device, square4(1), [4, 4], { trainable: true });
    const step = capture(device, () => {
      device.run({ kind: 'clear', target: target.storage });
      return affine(x, 2);
    });
    step.replay();
    target.dispose();
    const next = tensor(device, square4(3), [4, 4]);
    expect(() => step.replay()).toThrow(/replay: .*disposed/);
    expect([...(await next.read())]).toEqual([...square4(3)]);
    for (const each of [step, x, next]) each.dispose();
  });

  test.each(['dispose', 'destroy'] as const)('cannot be replayed after %s() of a constant weight', (how) => {
    const x = tensor(device, square4(1), [4, 4]);
    const weight = tensor(device, square4(2), [4, 4], { constant: true });
    const step = capture(device, () => matmul(x, weight));
    step.replay();
    weight[how]();
    expect(() => step.replay()).toThrow(/replay: .*disposed/);
    step.dispose();
    x.dispose();
  });
});

test('the form of a constant that attention reads in a step is not a part of the step', async () => {
  const numbers = (count: number) => Float32Array.from({ length: count }, (_, i) => Math.sin(i));
  const place = tensor(device, numbers(512), [1, 16, 32], { constant: true });
  const q = tensor(device, numbers(512), [1, 16, 32], { trainable: true });
  const run = () => gradients(total(attention(q, place, place, 1)), [q]);
  await prepare(device, run);
  const step = capture(device, run);
  const identity = tensor(
    device,
    Float32Array.from({ length: 16 * 16 }, (_, i) => Number(i % 17 === 0)),
    [16, 16],
  );
  const eagerly = async () => {
    const y = scope(() => matmul(identity, reshape(place, [16, 32])));
    return bitsOf(await y.read().finally(() => y.dispose()));
  };
  const expected = bitsOf(numbers(512));
  expect(await eagerly()).toBe(expected);
  step.replay();
  expect(await eagerly()).toBe(expected);
  step.dispose();
  expect(await eagerly()).toBe(expected);
  for (const each of [place, q, identity]) each.dispose();
});

describe('weights that change outside the step', () => {
  // On a software adapter products read texture copies of their operands: these must never be stale.
  test('a replay sees eager changes, and eager work sees what a replay wrote', async () => {
    const x = tensor(device, square4(1), [4, 4]);
    const weight = tensor(device, square4(2), [4, 4], { trainable: true });
    const eagerly = () => {
      const y = scope(() => matmul(x, weight));
      return y.read().finally(() => y.dispose());
    };
    const close = async (actual: Promise<Float32Array>, expected: number[]) =>
      expect([...(await actual)].map((value) => Math.round(value * 1e3) / 1e3)).toEqual(expected);
    await close(eagerly(), product(square4(1), square4(2)));
    // The step uses the weight, doubles it in place, and uses it again.
    const step = capture(device, () => {
      const before = matmul(x, weight);
      const doubled = affine(weight, 2);
      device.run({
        kind: 'copy',
        source: doubled.storage,
        sourceOffset: 0,
        target: weight.storage,
        targetOffset: 0,
        bytes: 64,
      });
      return { before, after: matmul(x, weight) };
    });
    await close(eagerly(), product(square4(1), square4(2)));
    step.replay();
    await close(step.outputs.before.read(), product(square4(1), square4(2)));
    await close(step.outputs.after.read(), product(square4(1), square4(4)));
    await close(eagerly(), product(square4(1), square4(4)));
    weight.write(square4(-1));
    step.replay();
    await close(step.outputs.before.read(), product(square4(1), square4(-1)));
    await close(step.outputs.after.read(), product(square4(1), square4(-2)));
    await close(eagerly(), product(square4(1), square4(-2)));
    step.replay();
    step.replay();
    await close(step.outputs.after.read(), product(square4(1), square4(-8)));
    await close(eagerly(), product(square4(1), square4(-8)));
    for (const each of [step, x, weight]) each.dispose();
  });

  test('eager gradients work on captured outputs', async () => {
    const x = tensor(device, values(1, 2, 3, 4));
    const weight = tensor(device, values(2, 2, 2, 2), [4], { trainable: true });
    const step = capture(device, () => affine(x, 3));
    step.replay();
    const [gradient] = scope(() => gradients(total(multiply(step.outputs, weight)), [weight]));
    expect([...(await gradient!.read())]).toEqual([3, 6, 9, 12]);
    for (const each of [gradient!, step, x, weight]) each.dispose();
  });
});
