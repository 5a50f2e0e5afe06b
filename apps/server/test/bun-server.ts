// Runs under Bun, started by bun.mjs: the app over a stand-in, with Bun's own HTTP server. Prints one line of JSON once it listens.
import { createApp } from '../src/app.ts';
import { listenBun } from '../src/bun.ts';
import { StandIn } from '../src/testing/stand-in.ts';

const server = await listenBun(createApp(new StandIn()), { port: 0, host: '127.0.0.1', drainMs: 1000 });
console.log(JSON.stringify({ url: server.url }));
process.once('SIGTERM', () => void server.close());
