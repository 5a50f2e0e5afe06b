// The same app under Bun, over a stand-in: answers, erases, streams, serves the page and drains. Skipped where npm has no Bun for the platform.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { connect } from '../src/client.ts';

const { platform, arch } = process;
const bun = findBun();
if (bun === undefined) {
  console.log(`skipped: no Bun is installed for ${platform}-${arch}`);
  process.exit(0);
}
const script = fileURLToPath(new URL('bun-server.ts', import.meta.url));
const child = spawn(bun, ['--conditions=@s3t/source', script], { stdio: ['ignore', 'pipe', 'inherit'] });
const exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal)));
try {
  const [line] = await Array.fromAsync(firstLine());
  const { url, holder } = JSON.parse(line);
  const client = connect(url);
  const events = client.events();
  assert.equal((await events.next()).value.event, 'hello');
  const input = { image: { width: 2, height: 1, channels: 1, pixels: Uint8Array.of(7, 0) } };
  const answer = await client.predict([input]);
  assert.equal(answer.answers[0][0].label, 'label-7');
  const receipt = await client.erase(['train/0'], { idempotencyKey: 'bun' });
  assert.ok(receipt.after.version > receipt.before.version);
  assert.equal((await client.erase(['train/0'], { idempotencyKey: 'bun' })).repeated, true);
  const seen = [];
  while (!seen.includes('erased')) seen.push((await events.next()).value.event);
  await assert.rejects(client.predict([]), { status: 400, path: 'inputs' });
  const page = await fetch(url);
  assert.match(page.headers.get('content-security-policy'), /default-src 'none'/);
  assert.match(await page.text(), /<title>S3T<\/title>/);
  // Its run is opened again when the process that holds it is killed.
  process.kill(holder, 'SIGKILL');
  const predicted = () =>
    client.predict([input]).then(
      () => 200,
      ({ status }) => status,
    );
  for (const wanted of [503, 200]) while ((await predicted()) !== wanted) await sleep(5);
  // Told to end, it ends the stream that is open and exits by itself.
  child.kill('SIGTERM');
  while (!(await events.next()).done);
  assert.equal(await Promise.race([exited, sleep(5000, 'still running', { ref: false })]), 0);
  console.log('the server works under Bun');
} finally {
  child.kill('SIGKILL');
}

async function* firstLine() {
  for await (const line of createInterface({ input: child.stdout })) {
    yield line;
    return;
  }
  throw new Error(`Bun ended with ${await exited} before it listened`);
}

/** The binary of the npm package for this platform. */
function findBun() {
  const require = createRequire(import.meta.url);
  try {
    const folder = dirname(require.resolve(`@oven/bun-${platform}-${arch}/package.json`));
    return [join(folder, 'bin', 'bun'), join(folder, 'bin', 'bun.exe')].find((path) => existsSync(path));
  } catch {
    return undefined;
  }
}
