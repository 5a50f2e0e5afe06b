// Runs under Bun, started by bun.mjs: the app with Bun's own HTTP server, over a stand-in in a process of its own, under Bun too. Prints one
// line of JSON once it listens.
import { createApp } from '../src/app.ts';
import { listenBun } from '../src/bun.ts';
import { ChildRun } from '../src/child/child-run.ts';

const entry = new URL('../src/testing/stand-in-child.ts', import.meta.url);
const run = await ChildRun.open({ run: '' }, { entry });
const app = createApp(run.service);
const server = await listenBun(app, { port: 0, host: '127.0.0.1', drainMs: 1000 });
console.log(JSON.stringify({ url: server.url, holder: run.pid }));
process.once('SIGTERM', () => void server.close().then(() => run.close()));
