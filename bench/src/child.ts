/** The process of one engine. It does what its parent asks, one request at a time. */
import { cases, faultOf } from './cases.ts';
import type { Answer, BenchEngine, EngineName, PreparedProduct, Request } from './engine.ts';

let engine: BenchEngine | null = null;
const prepared = new Map<number, PreparedProduct>();

async function open(name: EngineName): Promise<BenchEngine> {
  switch (name) {
    case 's3t':
      return (await import('./engines/s3t.ts')).open(true);
    case 's3t eager':
      return (await import('./engines/s3t.ts')).open(false);
    case 'jax-js webgpu':
      return (await import('./engines/jax.ts')).open('webgpu');
    case 'jax-js wasm':
      return (await import('./engines/jax.ts')).open('wasm');
    case 'tfjs-webgpu':
      return (await import('./engines/tfjs.ts')).open();
  }
}

async function answer(request: Request): Promise<Answer> {
  if (request.kind === 'open') {
    engine = await open(request.engine);
    return { adapter: engine.adapter };
  }
  const problem = cases[request.index]!;
  if (request.kind === 'prepare') {
    const product = await engine!.prepare(problem);
    const fault = faultOf(problem, await product.result());
    if (fault) throw new Error(`wrong result: ${fault}`);
    // Twice, so that what engines compile or cache on a second call is outside of what is timed.
    await product.run(2);
    prepared.set(request.index, product);
    return {};
  }
  const start = performance.now();
  await prepared.get(request.index)!.run(request.times);
  return { milliseconds: (performance.now() - start) / request.times };
}

process.on('message', (request: Request) => {
  answer(request)
    .catch((error): Answer => ({ error: error instanceof Error ? error.message : String(error) }))
    .then((result) => process.send!(result));
});
