// Runs under Deno, started by deno.mjs: serves the run in argv with Deno's own HTTP server and WebGPU. Where Deno finds no adapter,
// the same app over a stand-in. Prints one line of JSON once it listens.
import { createApp } from '../src/app.ts';
import { listenDeno, serve } from '../src/deno.ts';
import { StandIn } from '../src/testing/stand-in.ts';

declare const Deno: { args: string[] };

const [run = '', config = ''] = Deno.args;
const adapter = await navigator.gpu?.requestAdapter();
if (adapter) {
  const serving = await serve({ run, config, port: 0 });
  console.log(JSON.stringify({ url: serving.url, real: true }));
  await serving.closed;
} else {
  const app = createApp(new StandIn());
  const { url } = await listenDeno(app, { port: 0, host: '127.0.0.1', drainMs: 1000 });
  console.log(JSON.stringify({ url, real: false }));
}
