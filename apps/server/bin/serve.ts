// `deno task serve --run DIR` and `bun run serve --run DIR`: the server in the runtime that runs this, with its own HTTP server. `s3t serve` has more
// options, on Node.
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    run: { type: 'string' },
    config: { type: 'string' },
    host: { type: 'string' },
    port: { type: 'string', default: '8787' },
  },
});
const { run, port, ...rest } = values;
if (run === undefined || !/^\d{1,5}$/.test(port)) {
  console.error('usage: serve --run DIR [--config FILE] [--port N] [--host NAME]');
  process.exit(2);
}
const runtime = 'Deno' in globalThis ? 'deno' : 'Bun' in globalThis ? 'bun' : 'node';
const { serve } = (await import(`../src/${runtime}.ts`)) as typeof import('../src/node.ts');
try {
  const serving = await serve({ run, port: Number(port), ...rest });
  console.log(`s3t serves ${run} at ${serving.url}`);
  await serving.closed;
} catch (error) {
  console.error(`serve: ${error instanceof Error ? error.message : error}`);
  process.exit(1);
}
