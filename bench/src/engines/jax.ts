import { blockUntilReady, defaultDevice, init, jit, numpy as np } from '@jax-js/jax';
import { operandsOf, type ProductCase, transposed } from '../cases.ts';
import type { BenchEngine, PreparedProduct } from '../engine.ts';
import { provideWebGpu } from '../webgpu.ts';

/** jax-js, compiled with `jit`. Its operands are laid out plain beforehand, which suits it best. */
export async function open(backend: 'webgpu' | 'wasm'): Promise<BenchEngine> {
  const adapter = backend === 'webgpu' ? await provideWebGpu() : 'WebAssembly';
  const available = await init(backend);
  if (!available.includes(backend))
    throw new Error(`jax-js found no ${backend}: it has ${available.join(', ')}`);
  defaultDevice(backend);
  const product = jit((a: np.Array, b: np.Array) => np.matmul(a, b));

  async function prepare(problem: ProductCase): Promise<PreparedProduct> {
    const { m, n, k, layout } = problem;
    const data = operandsOf(problem);
    const a = np.array(layout === 'TN' ? transposed(data.a, k, m) : data.a, { shape: [m, k] });
    const b = np.array(layout === 'NT' ? transposed(data.b, n, k) : data.b, { shape: [k, n] });
    await blockUntilReady([a, b]);
    return {
      async run(times) {
        const results = Array.from({ length: times }, () => product(a.ref, b.ref));
        await blockUntilReady(results);
        for (const c of results) c.dispose();
      },
      async result() {
        return (await product(a.ref, b.ref).data()) as Float32Array;
      },
    };
  }

  return { adapter, prepare };
}
