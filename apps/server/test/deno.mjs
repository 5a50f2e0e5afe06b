// The same app under Deno: trains, answers, erases, streams and drains. Skipped where npm has no Deno for the platform.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { connect } from '../src/client.ts';
import { stripes, tinyRun } from '../src/testing/tiny-run.ts';

const deno = findDeno();
if (deno === undefined) {
  console.log(`skipped: no Deno is installed for ${process.platform}-${process.arch}`);
  process.exit(0);
}

const files = await tinyRun();
const script = fileURLToPath(new URL('deno-server.ts', import.meta.url));
const flags = ['run', '--conditions=@s3t/source', '--unstable-webgpu', '--no-lock', '-A'];
const child = spawn(deno, [...flags, script, files.run, files.config], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
const exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal)));
try {
  const { url, real } = await firstLine();
  const client = connect(url);
  if (real) await train(client);
  else console.log('Deno finds no WebGPU adapter: checking the app over a stand-in');
  await check(client);
  if (real) await checkDrain(client);
  console.log(`the server works under Deno${real ? ', with its own WebGPU' : ''}`);
} finally {
  child.kill('SIGKILL');
  await files.remove();
}

async function train(client) {
  assert.equal((await client.status()).missing, 8);
  await assert.rejects(client.predict([input(0)]), { status: 503, code: 'unavailable' });
  let state = await client.repair();
  for (; state.running; state = await client.repairState()) await sleep(200);
  assert.equal(state.failed, null);
}

async function check(client) {
  const events = client.events();
  assert.equal((await events.next()).value.event, 'hello');
  const status = await client.status();
  assert.equal(status.missing, 0);
  const [alone, together] = await Promise.all([
    client.predict([input(1)]),
    client.predict([input(1), input(2)]),
  ]);
  assert.deepEqual(alone.answers[0], together.answers[0]);
  assert.equal(together.version, status.version);

  const receipt = await client.erase(['train/0'], { idempotencyKey: 'deno' });
  assert.ok(receipt.after.version > receipt.before.version);
  assert.equal((await client.erase(['train/0'], { idempotencyKey: 'deno' })).repeated, true);
  assert.equal((await client.status()).erased, 1);
  assert.ok((await client.predict([input(1)])).version >= receipt.after.version);
  const seen = [];
  while (!seen.includes('erased')) seen.push((await events.next()).value.event);
  await events.return();
  await assert.rejects(client.predict([]), { status: 400, path: 'inputs' });
}

/** Told to end, it ends the stream that is open, lets go of the run, and exits with 0. */
async function checkDrain(client) {
  const events = client.events();
  await events.next();
  child.kill('SIGTERM');
  while (!(await events.next()).done);
  const code = await Promise.race([exited, sleep(20_000, 'still running')]);
  assert.equal(code, 0);
  assert.ok(!existsSync(join(files.run, 'lock')), 'the lock is given back');
}

function input(n) {
  return { image: { width: 28, height: 28, channels: 1, pixels: stripes(n) } };
}

async function firstLine() {
  const lines = createInterface({ input: child.stdout });
  for await (const line of lines) if (line.startsWith('{')) return JSON.parse(line);
  throw new Error(`Deno ended with ${await exited} before it listened`);
}

/** The binary of the npm package for this platform. */
function findDeno() {
  const { platform, arch } = process;
  const names = [`${platform}-${arch}`, `${platform}-${arch}-glibc`].map((name) => `@deno/${name}`);
  const require = createRequire(import.meta.url);
  for (const name of names) {
    try {
      const folder = dirname(require.resolve(`${name}/package.json`));
      return join(folder, platform === 'win32' ? 'deno.exe' : 'deno');
    } catch {}
  }
  return undefined;
}
