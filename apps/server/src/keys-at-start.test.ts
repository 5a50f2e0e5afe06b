import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { KeyFile } from './api-keys.ts';
import type { HoldRun } from './held-run.ts';
import { listenNode } from './listen-node.ts';
import { serveRun } from './serve.ts';
import { StandIn } from './testing/stand-in.ts';

let run: string;
let apiKeys: string;
beforeAll(async () => {
  run = await mkdtemp(join(tmpdir(), 's3t-keys-at-start-'));
  apiKeys = join(run, 'api-keys.json');
  await writeFile(apiKeys, '{"format": "s3t-api-keys-1", "keys": []}');
});
afterAll(() => rm(run, { recursive: true }));

const hold: HoldRun = async () => ({
  service: new StandIn(),
  publishUrl: async () => {},
  close: async () => {},
});
const told: string[] = [];
const serve = (host?: string) =>
  serveRun(
    { run, apiKeys, port: 0, ...(host && { host }), onNotice: (line) => told.push(line) },
    hold,
    listenNode,
  );

it('a file of keys that were all revoked serves no other machine, as none would', async () => {
  await expect(serve('0.0.0.0')).rejects.toMatchObject({
    code: 'usage',
    message: `0.0.0.0: ${apiKeys} holds no key, and without API keys only this machine may be served; make one with s3t api-key create, or listen on 127.0.0.1`,
  });
  expect(told).toEqual([]);
});

it('and on this machine says that nobody is let in', async () => {
  const serving = await serve();
  expect(serving).toMatchObject({ needsKey: true, host: '127.0.0.1' });
  expect(told).toEqual([expect.stringMatching(/api-keys\.json holds no API key, so nobody is let in: /)]);
  expect((await fetch(`${serving.url}/v1/status`)).status).toBe(401);
  await serving.close();
});

it('with a key it serves every address, and says what it listens on', async () => {
  await new KeyFile(apiKeys).create('admin');
  const serving = await serve('0.0.0.0');
  expect(serving).toMatchObject({ needsKey: true, host: '0.0.0.0' });
  expect(serving.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
  await serving.close();
});
