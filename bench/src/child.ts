/** The process of one engine. It does what its parent asks, one request at a time. */
import { cases } from './cases.ts';
import { faultOf, sampleOf } from './check.ts';
import type { Answer, BenchEngine, EngineName, Prepared, Request } from './engine.ts';

let engine: BenchEngine | null = null;
let prepared: Prepared | null = null;

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
  switch (request.kind) {
    case 'open':
      engine = await open(request.engine);
      return { adapter: engine.adapter };
    case 'prepare': {
      const { work } = cases[request.index]!;
      prepared = await engine!.prepare(work);
      const result = await prepared.result();
      const fault = faultOf(work, result);
      if (fault) throw new Error(`wrong result: ${fault}`);
      return { sample: sampleOf(result) };
    }
    case 'run': {
      const start = performance.now();
      await prepared!.run(request.times);
      return { milliseconds: (performance.now() - start) / request.times };
    }
    case 'done':
      prepared?.dispose();
      prepared = null;
      return {};
    case 'trace':
      return { trace: await (await import('./engines/s3t-trace.ts')).trace() };
  }
}

process.on('message', (request: Request) => {
  answer(request)
    .catch((error): Answer => ({ error: error instanceof Error ? error.message : String(error) }))
    .then((result) => process.send!(result));
});

// A parent that was killed asks no more.
process.on('disconnect', () => process.exit());
