import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { type Captured, capture } from './capture.ts';
import { affine, Device, matmul, reshape, SGD, slice, type Tensor, tensor, uniformValues } from './index.ts';

const SIDE = 256;

let device: Device;
let step: Captured<Tensor>;
let x: Tensor;
let whole: Float32Array;

/** A step of products that takes some tens of milliseconds, and is known to. */
beforeAll(async () => {
  device = await Device.open();
  x = tensor(device, uniformValues(SIDE * SIDE, 1, [1, 0], 0), [SIDE, SIDE]);
  const weight = tensor(device, uniformValues(SIDE * SIDE, 1 / 8, [2, 0], 0), [SIDE, SIDE]);
  step = capture(device, () => {
    let y = x;
    for (let i = 0; i < 40; i++) y = matmul(y, weight);
    return y;
  });
  for (let round = 0; round < 3; round++) {
    step.replay();
    whole = await step.outputs.read();
  }
});
afterAll(() => device.close());
afterEach(() => vi.restoreAllMocks());

test('parts give the bits of the whole', async () => {
  const submits = vi.spyOn(device, 'submit');
  for (let round = 0; round < 3; round++) {
    await step.replayInParts();
    expect(await step.outputs.read()).toEqual(whole);
  }
  expect(submits.mock.calls.length).toBeGreaterThan(3);
  const commands = submits.mock.calls.reduce((sum, [part]) => sum + part.length, 0);
  expect(commands).toBe(3 * step.length);
});

test('one that is told to give way leaves the rest, and the next runs whole', async () => {
  const submits = vi.spyOn(device, 'submit');
  const interrupted = vi.spyOn(device.patience, 'interrupted');
  const urgent = new AbortController();
  const given = step.replayInParts(urgent.signal);
  urgent.abort('urgent');
  // Who waits for the device from here on does not wait for what is not submitted.
  expect(interrupted).toHaveBeenCalled();
  await expect(given).rejects.toBe('urgent');
  const commands = submits.mock.calls.reduce((sum, [part]) => sum + part.length, 0);
  expect(commands).toBeLessThan(step.length);
  await expect(step.replayInParts(urgent.signal)).rejects.toBe('urgent');
  expect(submits.mock.calls.length).toBe(2);
  await step.replayInParts(new AbortController().signal);
  expect(await step.outputs.read()).toEqual(whole);
});

test('a copy that was made of a weight between the parts is not used once a later part has changed it', async () => {
  const identity = tensor(
    device,
    Float32Array.from({ length: 16 }, (_, i) => Number(i % 5 === 0)),
    [4, 4],
  );
  const weight = tensor(device, new Float32Array(16).fill(1), [4, 4], { trainable: true });
  const eagerly = async () => {
    using y = matmul(identity, weight);
    return (await y.read())[0];
  };
  const optimiser = new SGD(device, [weight]);
  optimiser.begin(1);
  const long = capture(device, () => {
    let y = x;
    for (let i = 0; i < 40; i++) y = affine(y, 1);
    optimiser.apply(
      [affine(slice(reshape(y, [x.size]), 0, 0, 16), 0, -1)].map((each) => reshape(each, [4, 4])),
    );
  });
  const submit = device.submit.bind(device);
  const meanwhile: Promise<number | undefined>[] = [];
  vi.spyOn(device, 'submit').mockImplementation((...part) => {
    submit(...part);
    if (meanwhile.length === 0) {
      meanwhile.push(Promise.resolve(0));
      meanwhile[0] = eagerly();
    }
  });
  await long.replayInParts();
  expect(await meanwhile[0]).toBe(1);
  expect(await eagerly()).toBe(2);
  for (const each of [long, optimiser, weight, identity]) each.dispose();
});

test('a step that is disposed meanwhile submits no more', async () => {
  const short = capture(device, () => {
    let y = x;
    for (let i = 0; i < 40; i++) y = matmul(y, y);
    return y;
  });
  for (let round = 0; round < 3; round++) {
    short.replay();
    await short.outputs.read();
  }
  const submits = vi.spyOn(device, 'submit');
  const running = short.replayInParts();
  short.dispose();
  await expect(running).rejects.toThrow('replay: the captured step was disposed');
  expect(submits.mock.calls.length).toBe(2);
});

test('one that begins before another has been read changes nothing of it', async () => {
  const reads: Promise<Float32Array>[] = [];
  for (const scale of [1, 2, 3]) {
    x.write(uniformValues(SIDE * SIDE, scale, [1, 0], 0));
    await step.replayInParts();
    reads.push(step.outputs.read());
  }
  const found = await Promise.all(reads);
  for (const [i, scale] of [1, 2, 3].entries()) {
    x.write(uniformValues(SIDE * SIDE, scale, [1, 0], 0));
    step.replay();
    expect(found[i]).toEqual(await step.outputs.read());
  }
});
