import { capture, Device, matmul, scope, tensor } from '@s3t/engine';
import { operandsOf, type ProductCase } from '../cases.ts';
import type { BenchEngine, PreparedProduct } from '../engine.ts';

/** This project's engine: eager, or as a captured step that is replayed (what training does, and what `jit` is elsewhere). */
export async function open(captured: boolean): Promise<BenchEngine> {
  const device = await Device.open();

  async function prepare(problem: ProductCase): Promise<PreparedProduct> {
    const { m, n, k, layout } = problem;
    const data = operandsOf(problem);
    const options = { transposeA: layout === 'TN', transposeB: layout === 'NT' };
    const a = tensor(device, data.a, options.transposeA ? [k, m] : [m, k]);
    // The weight of a linear layer is frozen, and the engine may keep a rearranged copy of it.
    const b = tensor(device, data.b, options.transposeB ? [n, k] : [k, n], { constant: layout === 'NT' });
    /** By the number of products: how long a wait for them may sleep. */
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
    const product = (): void => {
      // As if just written: nothing that was derived from it before may be used again.
      a.storage.version++;
      if (!b.storage.constant) b.storage.version++;
      scope(() => void matmul(a, b, options));
    };
    // Compiles the kernel, which the first replay would count as its usual time.
    product();
    await device.idle();
    const step = captured ? capture(device, () => matmul(a, b, options)) : null;
    return {
      async run(times) {
        for (let i = 0; i < times; i++) step ? step.replay() : product();
        device.flush();
        await settle(times);
      },
      async result() {
        if (step) {
          step.replay();
          return await step.outputs.read();
        }
        using c = matmul(a, b, options);
        return await c.read();
      },
    };
  }

  return { adapter: `${device.adapterName} [${device.adapterClass}]`, prepare };
}
