import { operandsOf, type ProductCase, transposed } from '../cases.ts';
import type { BenchEngine, PreparedProduct } from '../engine.ts';
import { provideWebGpu } from '../webgpu.ts';

/** The part of tfjs's WebGPU backend that ends a batch of commands without reading a result back. */
interface WebGpuBackend {
  endComputePassEncoder(): void;
  submitQueue(): void;
  /** Null right after a submit, which the backend does by itself every few commands. */
  commandEncoder: GPUCommandEncoder | null;
  queue: GPUQueue;
}

/** TensorFlow.js on its WebGPU backend. Its operands are laid out plain beforehand. */
export async function open(): Promise<BenchEngine> {
  const adapter = await provideWebGpu();
  const tf = await import('@tensorflow/tfjs-core');
  await import('@tensorflow/tfjs-backend-webgpu');
  if (!(await tf.setBackend('webgpu'))) throw new Error('tfjs could not start its webgpu backend');
  await tf.ready();
  const backend = tf.backend() as unknown as WebGpuBackend;

  async function prepare(problem: ProductCase): Promise<PreparedProduct> {
    const { m, n, k, layout } = problem;
    const data = operandsOf(problem);
    const a = tf.tensor2d(layout === 'TN' ? transposed(data.a, k, m) : data.a, [m, k]);
    const b = tf.tensor2d(layout === 'NT' ? transposed(data.b, n, k) : data.b, [k, n]);
    return {
      async run(times) {
        for (let i = 0; i < times; i++) tf.matMul(a, b).dispose();
        backend.endComputePassEncoder();
        if (backend.commandEncoder) backend.submitQueue();
        await backend.queue.onSubmittedWorkDone();
      },
      async result() {
        const c = tf.matMul(a, b);
        const values = await c.data();
        c.dispose();
        return values;
      },
    };
  }

  return { adapter, prepare };
}
