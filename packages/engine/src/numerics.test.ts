import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  AdamW,
  affine,
  attention,
  capture,
  Device,
  divide,
  EngineError,
  exp,
  geluTanh,
  gradients,
  log,
  multiply,
  relu,
  SGD,
  scope,
  sqrt,
  type Tensor,
  tanh,
  tensor,
  total,
  uniformValues,
} from './index.ts';
import { trainedBits } from './testing/block.ts';
import { openAs } from './testing/classes.ts';

let device: Device;
let plain: Device;
beforeAll(async () => {
  device = await Device.open({ checkNumerics: true });
  plain = await Device.open();
});
afterAll(() => {
  device.close();
  plain.close();
});

const message = (maker: string) => `checkNumerics: ${maker} is the first result with a NaN or an infinity`;

describe('eager work', () => {
  test('names the first operation that made one, not those that handed it on', async () => {
    using x = tensor(device, [1, 0, 4, 9, 16], [5]);
    using y = scope(() => sqrt(exp(relu(log(affine(x, 1))))));
    const failure = await y.read().catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(EngineError);
    expect((failure as EngineError).message).toBe(message('log, shape [5]'));
  });

  test('the device goes on, and what lies past the end of a tensor does not count', async () => {
    using x = tensor(device, [1, 2, 3]);
    device.upload(x.storage, Float32Array.of(Number.NaN), 12);
    using y = affine(x, 2);
    expect([...(await y.read())]).toEqual([2, 4, 6]);
    await device.idle();
  });

  test('a rule of the backward pass is named as such; idle() tells, too', async () => {
    using x = tensor(device, [4, 0], [2], { trainable: true });
    const [gradient] = scope(() => gradients(total(sqrt(x)), [x]));
    await expect(device.idle()).rejects.toThrow(message('divide, shape [2]'));
    gradient!.dispose();
  });

  test('integers are no floats', async () => {
    using labels = tensor(device, Uint32Array.of(0xffffffff, 0x7f800000));
    expect([...(await labels.readUint32())]).toEqual([0xffffffff, 0x7f800000]);
  });
});

describe('a captured step', () => {
  test('names the first operation of the replay that made one', async () => {
    using x = tensor(device, [1, 2]);
    using y = tensor(device, [1, 2]);
    const step = capture(device, () => affine(multiply(divide(x, y), x), 1));
    step.replay();
    expect([...(await step.outputs.read())]).toEqual([1, 2]);
    y.write(Float32Array.of(1, 0));
    using fine = affine(x, 3);
    step.replay();
    using late = log(affine(x, 0));
    await expect(step.outputs.read()).rejects.toThrow(message('divide, shape [2]'));
    y.write(Float32Array.of(1, 4));
    step.replay();
    expect([...(await step.outputs.read())]).toEqual([1, 1]);
    expect([...(await fine.read())]).toEqual([3, 6]);
    late.dispose();
    step.dispose();
  });

  test('replayed in parts, too, whatever is read meanwhile', async () => {
    using x = tensor(device, [1, 2]);
    using other = affine(x, 3);
    const step = capture(device, () => {
      let y = x;
      for (let i = 0; i < 40; i++) y = affine(y, 1);
      return log(affine(y, -1));
    });
    const replayed = step.replayInParts();
    const [read] = await Promise.allSettled([other.read(), replayed]);
    const told = read.status === 'rejected' ? read.reason : await step.outputs.read().catch((error) => error);
    expect(told).toEqual(new EngineError(message('log, shape [2]')));
    step.dispose();
  });

  test.each([
    ['AdamW', AdamW],
    ['SGD', SGD],
  ])('an optimiser that makes one is named: %s', async (name, Optimiser) => {
    using weight = tensor(device, [1, 2], [2], { trainable: true });
    const optimiser = new Optimiser(device, [weight]);
    const step = capture(device, (): Tensor => {
      const loss = total(multiply(weight, weight));
      optimiser.apply(gradients(loss, [weight]));
      return loss;
    });
    optimiser.begin(Number.POSITIVE_INFINITY);
    step.replay();
    await expect(step.outputs.read()).rejects.toThrow(message(`${name} on parameter 0, shape [2]`));
    step.dispose();
    optimiser.dispose();
  });
});

test('looking changes no bit', async () => {
  expect(await trainedBits(device, 4)).toEqual(await trainedBits(plain, 4));
});

test.for(['software', 'portable', 'gpu'] as const)(
  'no %s kernel takes a NaN for a number',
  async (chosen, context) => {
    const device = await openAs(chosen);
    if (!device) return context.skip('needs the subgroups of lavapipe');
    const x = tensor(device, new Float32Array(8).fill(Number.NaN));
    const k = tensor(device, uniformValues(48, 1, [1, 2], 0), [1, 3, 16]);
    const q = tensor(device, new Float32Array(48).fill(Number.NaN), [1, 3, 16]);
    for (const made of [tanh(x), relu(x), attention(q, k, k, 1)])
      expect((await made.read()).every(Number.isNaN)).toBe(true);
    device.close();
  },
);

test('the gradient of geluTanh is finite wherever its values are', async () => {
  using device = await Device.open();
  const x = tensor(device, [-1e20, -20, 20, 1e20], [4], { trainable: true });
  expect([...(await gradients(total(geluTanh(x)), [x])[0]!.read())]).toEqual([0, 0, 1, 1]);
});
