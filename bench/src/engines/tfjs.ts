import { registerHooks } from 'node:module';
import type { Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import type { Work } from '../cases.ts';
import { EPSILON, operandsOf } from '../check.ts';
import type { BenchEngine, Prepared } from '../engine.ts';
import { transposed } from '../inputs.ts';
import { provideWebGpu } from '../webgpu.ts';
import { trainingStep } from './tfjs-nets.ts';
import { attention, gelu, layerNorm, type Tf } from './tfjs-operations.ts';

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
  // Its gradients are not in the bundle that Node gets, but in modules that import others as bundlers do: without '.js'.
  registerHooks({
    resolve: (specifier, context, next) => {
      const bare = context.parentURL?.includes('/tfjs-core/dist/') && /^\.(?!.*\.js$)/.test(specifier);
      return next(bare ? `${specifier}.js` : specifier, context);
    },
  });
  await import('@tensorflow/tfjs-core/dist/register_all_gradients.js');
  await import('@tensorflow/tfjs-backend-webgpu');
  if (!(await tf.setBackend('webgpu'))) throw new Error('tfjs could not start its webgpu backend');
  await tf.ready();
  const backend = tf.backend() as unknown as WebGpuBackend;

  async function prepare(work: Work): Promise<Prepared> {
    const once = work.kind === 'step' ? trainingStep(tf, work.net) : functionOf(tf, work);
    return {
      async run(times) {
        for (let i = 0; i < times; i++) for (const each of tf.tidy(once)) each.dispose();
        backend.endComputePassEncoder();
        if (backend.commandEncoder) backend.submitQueue();
        await backend.queue.onSubmittedWorkDone();
      },
      async result() {
        const parts: number[] = [];
        for (const each of tf.tidy(once)) {
          for (const value of await each.data()) parts.push(value);
          each.dispose();
        }
        return parts;
      },
      dispose: () => undefined,
    };
  }

  return { adapter, prepare };
}

function functionOf(tf: Tf, work: Exclude<Work, { kind: 'step' }>): () => Tensor[] {
  const operands = operandsOf(work).map(({ shape, values }, index) => {
    const turned = work.kind === 'product' && work.layout === (index === 0 ? 'TN' : 'NT');
    const [rows, columns] = shape as [number, number];
    return turned ? tf.tensor(transposed(values, rows, columns), [columns, rows]) : tf.tensor(values, shape);
  });
  const [x, y, z, incoming] = operands as [Tensor, Tensor, Tensor, Tensor];
  if (work.kind === 'product') return () => [tf.matMul(x as Tensor2D, y as Tensor2D)];
  if (work.kind === 'attention') {
    const forward = (q: Tensor, k: Tensor, v: Tensor) => attention(tf, q, k, v, work.heads);
    if (!work.backward) return () => [forward(x, y, z)];
    return () => {
      const { value, grads } = tf.valueAndGrads(forward)([x, y, z], incoming);
      return [value, ...grads];
    };
  }
  switch (work.operation) {
    case 'add':
      return () => [tf.add(x, y)];
    case 'gelu':
      return () => [gelu(tf, x)];
    case 'softmax':
      return () => [tf.softmax(x)];
    case 'layerNorm':
      return () => [layerNorm(tf, x, y, z, EPSILON)];
  }
}
