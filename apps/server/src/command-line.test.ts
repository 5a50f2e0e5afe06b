// `s3t predict` on a language model's run that a server holds. The run is a stand-in, which says a prompt again; command, lock, server
// and stream are the real ones.
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { acquireLock } from '@s3t/ledger';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createApp } from './app.ts';
import { listenNode } from './listen-node.ts';
import { RunError, StandIn } from './testing/stand-in.ts';

const COMMAND = fileURLToPath(new URL('../../cli/src/main.ts', import.meta.url));
const PATIENCE = 60_000;
let folder: string;
let standIn: StandIn;
const ends: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3t-predict-'));
  ends.push(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'run.json'), '{ "format": "s3t-run-1", "store": "file:" }');
  const lock = await acquireLock(folder);
  ends.push(() => lock.release());
  standIn = new StandIn({ reads: 'text' });
  Object.defineProperty(standIn, 'task', { value: 'causal-lm' });
  const server = await listenNode(createApp(standIn), { port: 0, host: '127.0.0.1', drainMs: 0 });
  ends.push(() => server.close());
  await lock.publish({ url: server.url, server: null });
}, PATIENCE);
afterAll(async () => {
  for (const end of ends.reverse()) await end();
});

async function predict(input: string, ...options: string[]) {
  const args = ['--conditions=@s3t/source', COMMAND, 'predict', '-', '--run', folder, ...options];
  const child = spawn(process.execPath, args, { env: { ...process.env, NO_COLOR: '1' } });
  child.stdin.end(input);
  const code = new Promise((resolve) => child.once('close', resolve));
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { code: await code, stdout, stderr: stderr.replace(/^Warning: .*artificially reduced.*\n/gm, '') };
}

test('a language model that a server holds continues texts through it', { timeout: PATIENCE }, async () => {
  const { version, manifest } = await standIn.status();
  const rows = '{"id":"a","text":"Once upon"}\n{"id":"b","text":"A"}\n';
  const told = await predict(rows, '--max-tokens', '14', '--json');
  expect(told).toMatchObject({ code: 0, stderr: '' });
  const served = { version, manifest };
  expect(JSON.parse(told.stdout)).toEqual({
    ...served,
    predictions: [
      { id: 'a', text: '{"text":{"text', finish: 'length', ...served },
      { id: 'b', text: '{"text":{"text', finish: 'length', ...served },
    ],
  });
  const shown = await predict('Once upon a time\nThen\n');
  expect(shown).toMatchObject({ code: 0, stdout: 'Once upon a time\n\nThen\n' });
});

test('a text that an erasure cuts off is told as that, with exit code 1', { timeout: PATIENCE }, async () => {
  let pieces = 0;
  standIn.beforePiece = () => {
    if (++pieces === 5) throw new RunError('unavailable', 'what is served changed; ask again');
  };
  const told = await predict('Once upon a time\n');
  expect(told).toMatchObject({ code: 1, stderr: 's3t: what is served changed; ask again\n' });
  // What had come is not taken back, and is no answer.
  expect(told.stdout).toBe('Once');
});
