// A real run, trained here, held by processes that are killed.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Unlearner } from '@s3t/unlearner';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createApp } from '../app.ts';
import { connect } from '../client.ts';
import { serve } from '../node.ts';
import type { Serving } from '../serve.ts';
import { post } from '../testing/request.ts';
import { stripes, type TinyRun, tinyRun } from '../testing/tiny-run.ts';
import { ChildRun } from './child-run.ts';

let files: TinyRun;

const input = (n: number) => ({ image: { width: 28, height: 28, channels: 1 as const, pixels: stripes(n) } });
/** Who holds the run, as its lock says. */
const holder = async (): Promise<{ pid: number; url: string | null }> =>
  JSON.parse(await readFile(join(files.run, 'lock'), 'utf8'));

beforeAll(async () => {
  files = await tinyRun();
  await using unlearner = await Unlearner.open({ run: files.run, config: files.config });
  await unlearner.train();
});

afterAll(() => files?.remove());

describe('a served run whose process is killed', () => {
  let server: Serving;
  const lost = async () => {
    const { pid } = await holder();
    process.kill(pid, 'SIGKILL');
    const client = connect(server.url);
    await expect
      .poll(() =>
        client.predict([input(0)]).then(
          () => 200,
          ({ status }) => status,
        ),
      )
      .toBe(503);
    return client;
  };
  const back = () =>
    expect
      .poll(async () => (await fetch(`${server.url}/health/ready`)).status, { timeout: 60_000 })
      .toBe(200);

  beforeAll(async () => {
    server = await serve({ run: files.run, port: 0, signals: false });
  });
  afterAll(() => server?.close());

  it('is another process than the one that listens', async () => {
    expect((await holder()).pid).not.toBe(process.pid);
    expect((await holder()).url).toBe(server.url);
  });

  it('stays live, answers 503 until the run is open again, and is found at the same address', async () => {
    const client = connect(server.url);
    const before = await client.predict([input(1)]);
    const events = client.events();
    expect((await events.next()).value?.event).toBe('hello');
    await lost();
    expect((await events.next()).value?.event).toBe('lost');
    expect((await fetch(`${server.url}/health/live`)).status).toBe(200);
    await back();
    expect((await events.next()).value?.event).toBe('version');
    await events.return(undefined);
    expect(await client.predict([input(1)])).toEqual(before);
    expect((await holder()).url).toBe(server.url);
  });

  it('finishes an erasure that was cut off, once, and answers with nothing older', async () => {
    const client = connect(server.url);
    const { version } = await client.status();
    const request = { idempotencyKey: 'cut-off' };
    const erasing = client.erase(['train/0'], request).catch((error) => error);
    process.kill((await holder()).pid, 'SIGKILL');
    await erasing;
    await back();
    const receipt = await client.erase(['train/0'], request);
    expect(receipt.after.version).toBeGreaterThan(version);
    expect((await client.status()).erased).toBe(1);
    const answer = await client.predict([input(1)]);
    expect(answer.version).toBe(receipt.after.version);
  });

  it('goes on with a repair', async () => {
    const client = connect(server.url);
    expect((await client.status()).missing).toBeGreaterThan(0);
    const events = client.events();
    await events.next();
    expect((await client.repair()).running).toBe(true);
    for await (const { event } of events) if (event === 'step') break;
    await lost();
    expect((await client.repairState()).running).toBe(true);
    await back();
    await expect.poll(async () => (await client.repairState()).running, { timeout: 120_000 }).toBe(false);
    expect((await client.repairState()).failed).toBe(null);
    expect((await client.status()).missing).toBe(0);
  });
});

describe('ChildRun', () => {
  it('is opened again when its device is lost', async () => {
    const told: string[] = [];
    const entry = new URL('../testing/lossy-entry.ts', import.meta.url);
    const run = await ChildRun.open({ run: files.run }, { entry, onNotice: (message) => told.push(message) });
    const app = createApp(run.service, { onError: () => {} });
    try {
      const image = { ...input(1).image, pixels: [...stripes(1)] };
      const predict = () => post(app, '/v1/predict', { inputs: [{ image }] });
      const before = await (await predict()).json();
      process.kill(run.pid!, 'SIGUSR2');
      await expect.poll(async () => (await predict()).status).toBe(503);
      await expect.poll(async () => (await predict()).status, { timeout: 60_000 }).toBe(200);
      expect(await (await predict()).json()).toEqual(before);
      expect(told).toEqual(['the process that holds the run ended with exit code 1; opening the run again']);
    } finally {
      await app.shutdown();
      await run.close();
    }
    expect(existsSync(join(files.run, 'lock'))).toBe(false);
  });

  it('says what keeps the run from being opened', async () => {
    const missing = join(files.folder, 'none');
    const here = await Unlearner.open({ run: missing }).catch((error) => error);
    const { name, code, message } = here;
    await expect(ChildRun.open({ run: missing })).rejects.toMatchObject({ name, code, message });
  });
});

describe('a server that is killed', () => {
  let parent: ChildProcess | undefined;
  afterEach(() => void parent?.kill('SIGKILL'));

  it('has loaded no GPU driver, and leaves nobody who holds the run', async () => {
    const script = fileURLToPath(new URL('../testing/serve-child.ts', import.meta.url));
    const args = ['--conditions=@s3t/source', script, files.run];
    parent = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(createInterface({ input: parent.stdout! }), 'line');
    const { pid } = await holder();
    if (process.platform === 'linux') {
      const maps = (of: number) => readFile(`/proc/${of}/maps`, 'utf8');
      expect(await maps(parent.pid!)).not.toMatch('dawn.node');
      expect(await maps(pid)).toMatch('dawn.node');
    }
    parent.kill('SIGKILL');
    await once(parent, 'exit');
    // Whoever opens the run now waits for the process that holds it.
    await using again = await Unlearner.open({ run: files.run });
    expect((await again.status()).records).toBe(95);
    await expect.poll(() => isAlive(pid)).toBe(false);
  });
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
