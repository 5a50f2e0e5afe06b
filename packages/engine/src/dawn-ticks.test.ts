import { promisify } from 'node:util';
import { afterEach, expect, test, vi } from 'vitest';
import { paceTicks } from './dawn-ticks.ts';
import { capture, Device, matmul, tensor } from './index.ts';

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

test('a wait asks Dawn a few times, not all the time', async () => {
  using device = await Device.open();
  const x = tensor(device, new Float32Array(256 * 256), [256, 256]);
  const step = capture(device, () => {
    let y = x;
    for (let i = 0; i < 60; i++) y = matmul(y, y);
    return y;
  });
  step.replay();
  await step.outputs.read();
  const asked = vi.spyOn(globalThis, 'setImmediate');
  const began = performance.now();
  step.replay();
  await device.gpu.queue.onSubmittedWorkDone();
  // Without pauses it is asked some ten times a millisecond and more.
  expect(asked.mock.calls.length).toBeLessThan(100 + 2 * (performance.now() - began));
});

test('only its questions wait, and only when it has asked for a while', async () => {
  vi.useFakeTimers({ toFake: ['performance', 'setTimeout'] });
  const immediate = vi.fn();
  const target = { setImmediate: immediate };
  paceTicks(target);
  const calls: string[] = [];
  // What a native module makes of a lambda looks like this.
  function ask(): void {
    calls.push('tick');
  }
  Object.defineProperty(ask, 'name', { value: '' });
  const tick = new Proxy(ask, {});
  const named = () => {};
  target.setImmediate(tick);
  expect(immediate).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(1);
  target.setImmediate(tick);
  target.setImmediate(named, 1);
  target.setImmediate(() => {});
  const { resolve } = Promise.withResolvers<void>();
  target.setImmediate(resolve);
  expect(immediate).toHaveBeenCalledTimes(4);
  expect(calls).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(calls).toEqual(['tick']);
  // Another wait.
  vi.advanceTimersByTime(10);
  target.setImmediate(tick);
  expect(immediate).toHaveBeenCalledTimes(5);
});

test('setImmediate is what it was to everybody else', async () => {
  using _device = await Device.open();
  expect(await new Promise((resolve) => setImmediate(resolve, 'argument'))).toBe('argument');
  expect(await promisify(setImmediate)('value')).toBe('value');
  const never = vi.fn();
  clearImmediate(setImmediate(never));
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect(never).not.toHaveBeenCalled();
});
