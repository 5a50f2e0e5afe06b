import { blockUntilReady, defaultDevice, init, jit, nn, numpy as np, tree, vjp } from '@jax-js/jax';
import type { Work } from '../cases.ts';
import { EPSILON, operandsOf } from '../check.ts';
import type { BenchEngine, Prepared } from '../engine.ts';
import { transposed } from '../inputs.ts';
import { layerNorm, trainingStep } from './jax-nets.ts';

/** A compiled function with its arguments, and how its results come back. */
interface Job {
  call(): np.Array[];
  read(results: np.Array[]): Promise<number[]>;
}

/** jax-js, compiled with `jit`. Its operands are laid out plain beforehand, which suits it best. */
export async function open(backend: 'webgpu' | 'wasm'): Promise<BenchEngine> {
  const { provideWebGpu } = await import('../webgpu.ts');
  const adapter = backend === 'webgpu' ? await provideWebGpu() : 'WebAssembly';
  const available = await init(backend);
  if (!available.includes(backend))
    throw new Error(`jax-js found no ${backend}: it has ${available.join(', ')}`);
  defaultDevice(backend);

  async function prepare(work: Work): Promise<Prepared> {
    const { call, read } = work.kind === 'step' ? await trainingStep(work.net) : await jobOf(work);
    return {
      async run(times) {
        const results = Array.from({ length: times }, call);
        await blockUntilReady(results);
        for (const each of results.flat()) each.dispose();
      },
      result: () => read(call()),
      dispose: () => undefined,
    };
  }

  return { adapter, prepare };
}

async function jobOf(work: Exclude<Work, { kind: 'step' }>): Promise<Job> {
  const operands = operandsOf(work).map(({ shape, values }, index) => {
    const turned = work.kind === 'product' && work.layout === (index === 0 ? 'TN' : 'NT');
    const [rows, columns] = shape as [number, number];
    return turned
      ? np.array(transposed(values, rows, columns), { shape: [columns, rows] })
      : np.array(values, { shape });
  });
  await blockUntilReady(operands);
  const compiled = jit(functionOf(work));
  return {
    call: () => compiled(...tree.ref(operands)) as np.Array[],
    read: async (results) => {
      const parts: number[] = [];
      for (const each of results) for (const value of (await each.data()) as Float32Array) parts.push(value);
      return parts;
    },
  };
}

function functionOf(work: Exclude<Work, { kind: 'step' }>): (...operands: np.Array[]) => np.Array[] {
  if (work.kind === 'product') return (a, b) => [np.matmul(a!, b!)];
  if (work.kind === 'attention') {
    const { batch, tokens, width, heads, backward } = work;
    const split = (x: np.Array) => x.reshape([batch, tokens, heads, width / heads]);
    const forward = (q: np.Array, k: np.Array, v: np.Array) =>
      nn.dotProductAttention(split(q), split(k), split(v)).reshape([batch, tokens, width]);
    if (!backward)
      return (q, k, v, incoming) => {
        incoming!.dispose();
        return [forward(q!, k!, v!)];
      };
    return (q, k, v, incoming) => {
      const [output, pull] = vjp(forward, [q!, k!, v!]);
      return [output, ...(pull(incoming!) as np.Array[])];
    };
  }
  switch (work.operation) {
    case 'add':
      return (x, y) => [x!.add(y!)];
    case 'gelu':
      return (x) => [nn.gelu(x!, { approximate: false })];
    case 'softmax':
      return (x) => [nn.softmax(x!, -1)];
    case 'layerNorm':
      return (x, weight, bias) => [layerNorm(x!, weight!, bias!, EPSILON)];
  }
}
