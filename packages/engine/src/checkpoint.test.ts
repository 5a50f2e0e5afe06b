import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  add,
  capture,
  checkpoint,
  Device,
  dropout,
  EngineError,
  gelu,
  gradients,
  layerNorm,
  linear,
  multiply,
  randomState,
  scope,
  type Tensor,
  tensor,
  total,
  uniformValues,
} from './index.ts';
import { bitsOfAll } from './testing/block.ts';

let device: Device;
beforeAll(async () => {
  device = await Device.open();
});
afterAll(() => device.close());

const [ROWS, WIDTH, BLOCKS] = [64, 32, 4];

/** Four blocks with dropout and a scale that all of them share, twice in each: the order of its sums is at stake. */
function net() {
  let stream = 0;
  const made = (shape: number[], bound: number, trainable: boolean) =>
    tensor(
      device,
      uniformValues(
        shape.reduce((a, b) => a * b),
        bound,
        [3, 5],
        stream++,
      ),
      shape,
      { trainable },
    );
  const x = made([ROWS, WIDTH], 1, false);
  const shared = made([WIDTH], 1, true);
  const blocks = Array.from({ length: BLOCKS }, () => ({
    weight: made([WIDTH, WIDTH], 0.4, true),
    bias: made([WIDTH], 0.1, true),
    scale: made([WIDTH], 1, true),
    shift: made([WIDTH], 0.1, true),
  }));
  const random = randomState(device, [7, 9]);
  const parameters = [shared, ...blocks.flatMap((block) => Object.values(block))];
  const forward = (h: Tensor, at: number) => {
    const { weight, bias, scale, shift } = blocks[at]!;
    const y = gelu(linear(multiply(layerNorm(h, scale, shift, 1e-6), shared), weight, bias));
    return add(h, multiply(dropout(y, random, 0.25, at), shared));
  };
  return {
    parameters,
    random,
    step: (checkpoints: boolean) =>
      scope(() => {
        let h = x;
        for (let at = 0; at < BLOCKS; at++)
          h = checkpoints ? checkpoint((h) => forward(h, at), [h]) : forward(h, at);
        const loss = total(multiply(h, h));
        return [loss, ...gradients(loss, parameters)];
      }),
    dispose: () => {
      for (const each of [x, random.state, ...parameters]) each.dispose();
    },
  };
}

async function bitsAndDispose(tensors: Tensor[]): Promise<string[]> {
  const bits = await bitsOfAll(tensors);
  for (const each of tensors) each.dispose();
  return bits;
}

test('gradients have the bits they have without, eager and captured, step after step', async () => {
  const block = net();
  const step = capture(device, () => block.step(true));
  const seen = new Set<string>();
  for (const at of [0, 1, 2]) {
    block.random.setStep(at);
    const expected = await bitsAndDispose(block.step(false));
    expect(await bitsAndDispose(block.step(true))).toEqual(expected);
    step.replay();
    expect(await bitsOfAll(step.outputs)).toEqual(expected);
    seen.add(expected.join());
  }
  expect(seen.size).toBe(3);
  step.dispose();
  block.dispose();
});

test('takes less memory, eager and captured, and leaves nothing behind', async () => {
  const peakOf = async (checkpoints: boolean) => {
    using fresh = await Device.open();
    const own = device;
    device = fresh;
    try {
      const block = net();
      const before = fresh.memory().liveBytes;
      for (const each of block.step(checkpoints)) each.dispose();
      expect(fresh.memory().liveBytes).toBe(before);
      const eager = fresh.memory().peakBytes - before;
      const step = capture(fresh, () => block.step(checkpoints));
      const captured = step.arenaBytes;
      step.dispose();
      block.dispose();
      return { eager, captured };
    } finally {
      device = own;
    }
  };
  const [plain, checkpointed] = [await peakOf(false), await peakOf(true)];
  expect(checkpointed.eager).toBeLessThan(0.7 * plain.eager);
  expect(checkpointed.captured).toBeLessThan(0.8 * plain.captured);
});

test('without anything to train it is the plain body', async () => {
  using x = tensor(device, [1, 2, 3, 4]);
  using y = checkpoint((x) => multiply(x, x), [x]);
  expect(y.node).toBeNull();
  expect([...(await y.read())]).toEqual([1, 4, 9, 16]);
});

test('one inside another, and a body that hands its input through', async () => {
  using x = tensor(device, [1, 2, 3, 4], [4], { trainable: true });
  const cube = (x: Tensor) =>
    checkpoint(
      (y) =>
        multiply(
          checkpoint((z) => multiply(z, z), [y]),
          y,
        ),
      [x],
    );
  const [gradient] = scope(() => {
    const y = cube(x);
    return gradients(
      total(
        add(
          checkpoint((y) => y, [y]),
          y,
        ),
      ),
      [x],
    );
  });
  expect([...(await gradient!.read())]).toEqual([6, 24, 54, 96]);
  gradient!.dispose();
});

test('an input that is gone by the backward pass is named', () => {
  using x = tensor(device, [1, 2, 3, 4], [4], { trainable: true });
  const loss = total(checkpoint((y) => multiply(y, y), [x]));
  x.dispose();
  expect(() => gradients(loss, [x])).toThrow(EngineError);
  expect(() => gradients(loss, [x])).toThrow('an input of checkpoint, shape [4], was disposed');
  loss.dispose();
});
