import {
  add,
  attention,
  capture,
  Device,
  gelu,
  gradients,
  layerNorm,
  matmul,
  multiply,
  scope,
  softmax,
  type Tensor,
  tensor,
  total,
} from '@s3t/engine';
import type { Work } from '../cases.ts';
import { EPSILON, operandsOf } from '../check.ts';
import type { BenchEngine, Prepared } from '../engine.ts';
import { trainingStep } from './s3t-nets.ts';

/** What is timed: its results, and what comes before each time. */
interface Job {
  step: () => Tensor[];
  before?: () => void;
}

/** This project's engine: eager, or as a captured step that is replayed (what training does, and what `jit` is elsewhere). */
export async function open(captured: boolean): Promise<BenchEngine> {
  const device = await Device.open();

  async function prepare(work: Work): Promise<Prepared> {
    const { step, before } = jobOf(device, work);
    /** By the number of runs: how long a wait for them may sleep. */
    const naps = new Map<number, number>();
    /**
     * Waits for the queue. Dawn polls in a busy loop while a promise of its device is pending, and on a small machine takes
     * the core that should compute; so most of the least time it can take is slept through first, as device.idle() does in
     * a training loop. (That one goes by the usual time of one replay, which is longer than one of many.)
     */
    const settle = async (times: number): Promise<void> => {
      const start = performance.now();
      const nap = naps.get(times);
      if (nap !== undefined && nap > 2) await new Promise((resolve) => setTimeout(resolve, nap));
      await device.gpu.queue.onSubmittedWorkDone();
      const took = performance.now() - start;
      // Without a nap half of the time may have gone to the busy loop.
      naps.set(times, nap === undefined ? 0.5 * took : Math.min(nap, 0.8 * took));
    };
    const replayed = captured ? capture(device, step) : null;
    const once = (): void => {
      before?.();
      if (replayed) replayed.replay();
      else scope(() => void step());
    };
    // Compiles the kernels, which the first replay would count as its usual time.
    once();
    await device.idle();
    return {
      async run(times) {
        for (let i = 0; i < times; i++) once();
        device.flush();
        await settle(times);
      },
      async result() {
        before?.();
        replayed?.replay();
        const tensors = replayed ? replayed.outputs : scope(step);
        const parts: number[] = [];
        for (const each of tensors) for (const value of await each.read()) parts.push(value);
        if (!replayed) for (const each of tensors) each.dispose();
        return parts;
      },
      dispose: () => replayed?.dispose(),
    };
  }

  return { adapter: `${device.adapterName} [${device.adapterClass}]`, prepare };
}

function jobOf(device: Device, work: Work): Job {
  if (work.kind === 'step') {
    const { step, prepare } = trainingStep(device, work.net, work.optimise);
    const flat = (): Tensor[] => {
      const { loss, gradients: found } = step();
      return [loss, ...found];
    };
    return { step: flat, before: prepare };
  }
  const trainable = work.kind === 'attention' && work.backward;
  // The weight of a linear layer is frozen, and the engine may keep a rearranged copy of it.
  const constant = (index: number) => work.kind === 'product' && work.layout === 'NT' && index === 1;
  const operands = operandsOf(work).map(({ shape, values }, index) =>
    tensor(device, values, shape, { trainable: trainable && index < 3, constant: constant(index) }),
  );
  const [x, y, z, incoming] = operands as [Tensor, Tensor, Tensor, Tensor];
  // As if just written: nothing that was derived from it before may be used again.
  const before = () => {
    for (const { storage } of operands) if (!storage.constant) storage.version++;
  };
  const step = (): Tensor[] => {
    switch (work.kind) {
      case 'product':
        return [matmul(x, y, { transposeA: work.layout === 'TN', transposeB: work.layout === 'NT' })];
      case 'attention': {
        const output = attention(x, y, z, work.heads);
        if (!work.backward) return [output];
        return [output, ...gradients(total(multiply(output, incoming)), [x, y, z])];
      }
      case 'rows':
        switch (work.operation) {
          case 'add':
            return [add(x, y)];
          case 'gelu':
            return [gelu(x)];
          case 'softmax':
            return [softmax(x)];
          case 'layerNorm':
            return [layerNorm(x, y, z, EPSILON)];
        }
    }
  };
  return { step, before };
}
