import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROLES } from './access.ts';
import { KeyFile } from './api-keys.ts';
import { type App, createApp } from './app.ts';
import type { AppOptions } from './options.ts';
import { parseEvents } from './sse.ts';
import { image } from './testing/request.ts';
import { StandIn } from './testing/stand-in.ts';

let folder: string;
const apps: App[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3t-keys-'));
});
afterAll(async () => {
  for (const app of apps) await app.shutdown();
  await rm(folder, { recursive: true, force: true });
});

let files = 0;
const freshFile = (): KeyFile => new KeyFile(join(folder, `keys-${files++}.json`));

function start(options: AppOptions): App {
  const app = createApp(new StandIn(), { onError: () => {}, ...options });
  apps.push(app);
  return app;
}

const bearer = (secret: string): Record<string, string> => ({ Authorization: `Bearer ${secret}` });
const predict = (app: App, headers: Record<string, string>, url = '/v1/predict') =>
  app.request(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify({ inputs: [image(1)] }),
  });
const codeOf = async (response: Response): Promise<string> =>
  ((await response.json()) as { error: { code: string } }).error.code;

describe('KeyFile', () => {
  it('keeps hashes, for its owner alone, and knows a key until it is revoked', async () => {
    const keys = freshFile();
    expect(await keys.isRequired()).toBe(false);
    const { key, secret } = await keys.create('audit', 'the auditor');
    expect(await keys.isRequired()).toBe(true);
    const text = await readFile(keys.file, 'utf8');
    expect(text).not.toContain(secret.slice(-43));
    if (process.platform !== 'win32') expect((await stat(keys.file)).mode & 0o777).toBe(0o600);
    const other = new KeyFile(keys.file);
    expect(await other.find(secret)).toMatchObject({ id: key.id, role: 'audit' });
    for (const wrong of ['', secret.slice(0, -1), `${secret}x`, key.hash])
      expect(await other.find(wrong)).toBeNull();
    expect(await keys.revoke(key.id)).toBe(true);
    expect(await keys.revoke(key.id)).toBe(false);
    expect(await other.find(secret)).toBeNull();
    expect(await other.isRequired()).toBe(true);
  });

  it('loses none of many changes at once', async () => {
    const keys = freshFile();
    const first = await keys.create('admin');
    await Promise.all([
      ...ROLES.map((role) => new KeyFile(keys.file).create(role)),
      new KeyFile(keys.file).revoke(first.key.id),
    ]);
    expect((await keys.list()).map(({ role }) => role).sort()).toEqual([...ROLES].sort());
  });

  it('writes nothing when there is no key to revoke', async () => {
    const keys = new KeyFile(join(folder, `none-${files++}`, 'keys.json'));
    expect(await keys.revoke('deadbeef')).toBe(false);
    await expect(stat(dirname(keys.file))).rejects.toThrow('ENOENT');
    expect(await keys.isRequired()).toBe(false);
    await keys.create('admin');
    const before = await stat(keys.file);
    expect(await keys.revoke('deadbeef')).toBe(false);
    expect((await stat(keys.file)).ino).toBe(before.ino);
  });

  it('of which all were revoked opens nothing, nor does its going, once there was a key', async () => {
    const keys = freshFile();
    const app = start({ keys });
    const status = async (app: App) => (await app.request('http://localhost/v1/status')).status;
    expect(await status(app)).toBe(200);
    const { key } = await new KeyFile(keys.file).create('admin');
    expect(await status(app)).toBe(401);
    await new KeyFile(keys.file).revoke(key.id);
    const later = start({ keys: new KeyFile(keys.file) });
    for (const each of [app, later]) expect(await status(each)).toBe(401);
    await rm(keys.file);
    for (const each of [app, later]) expect(await status(each)).toBe(401);
  });

  it('that came without a key, to a server that had none, opens it again when it goes', async () => {
    const keys = freshFile();
    const app = start({ keys });
    const status = async (host: string) => (await app.request(`http://${host}/v1/status`)).status;
    expect(await status('localhost')).toBe(200);
    await writeFile(keys.file, '{"format": "s3t-api-keys-1", "keys": []}');
    expect(await status('localhost')).toBe(401);
    await rm(keys.file);
    expect(await status('localhost')).toBe(200);
    // As before, and no more.
    expect(await status('elsewhere.example')).toBe(403);
  });

  it('lets nobody in when the file is spoilt or gone', async () => {
    const keys = freshFile();
    const { secret } = await keys.create('admin');
    const app = start({ keys });
    expect((await app.request('/v1/status', { headers: bearer(secret) })).status).toBe(200);
    await writeFile(keys.file, '{"format": "s3t-api-keys-1"}');
    await expect(keys.find(secret)).rejects.toThrow(
      `${keys.file}: holds no API keys as this program writes them`,
    );
    expect((await app.request('/v1/status', { headers: bearer(secret) })).status).toBe(500);
    await rm(keys.file);
    expect((await app.request('/v1/status', { headers: bearer(secret) })).status).toBe(401);
  });
});

describe('who may do what', () => {
  it('every route but health, the description and the pages wants a key', async () => {
    const keys = freshFile();
    await keys.create('admin');
    const app = start({ keys });
    const open =
      /^\/(|health\/(live|ready)|v2\/health\/(live|ready)|openapi\.json|docs|discovery|v1\/log\/key|assets\/.*)$/;
    const routes = app.routes.filter(({ method, path }) => method !== 'ALL' && !path.includes('*'));
    expect(routes.length).toBeGreaterThan(20);
    for (const { method, path } of routes) {
      // Each from another address: one that tries too much is turned away.
      const env = { incoming: { socket: { remoteAddress: `${method} ${path}` } } };
      const response = await app.request(path, { method }, env);
      expect([path, response.status === 401]).toEqual([path, !open.test(path)]);
      if (!open.test(path)) expect(response.headers.has('x-s3t-version')).toBe(false);
    }
  });

  it('a role may do what those before it may', async () => {
    const keys = freshFile();
    const secrets = await Promise.all(ROLES.map(async (role) => (await keys.create(role)).secret));
    const app = start({ keys });
    const allowed = async (send: (headers: Record<string, string>) => Response | Promise<Response>) => {
      const statuses = await Promise.all(secrets.map(async (secret) => (await send(bearer(secret))).status));
      return statuses.map((status) => status !== 403 && status < 500);
    };
    expect(await allowed((headers) => predict(app, headers))).toEqual([true, true, true]);
    for (const path of [
      '/v1/status',
      '/v1/erasures',
      '/v1/log/checkpoint',
      '/metrics',
      '/v1/repair',
      '/v1/history',
    ])
      expect(await allowed((headers) => app.request(path, { headers }))).toEqual([false, true, true]);
    for (const path of [
      '/v1/erasures',
      '/v1/backups',
      '/v1/repair',
      '/v1/repair/pause',
      '/v1/repair/resume',
      '/v1/history',
    ])
      expect(await allowed((headers) => app.request(path, { method: 'POST', headers }))).toEqual([
        false,
        false,
        true,
      ]);
  });

  it('gives exact scores to auditors and administrators, coarse ones to others', async () => {
    const keys = freshFile();
    const app = start({ keys });
    const scoreFor = async (role: (typeof ROLES)[number]): Promise<number> => {
      const { secret } = await keys.create(role);
      const { answers } = (await (await predict(app, bearer(secret))).json()) as {
        answers: { score: number }[][];
      };
      return answers[0]![0]!.score;
    };
    expect(await Promise.all(ROLES.map(scoreFor))).toEqual([0.988, 0.98765, 0.98765]);
  });

  it('asks for a bearer, and takes the key as a password', async () => {
    const keys = freshFile();
    const { secret } = await keys.create('audit');
    const app = start({ keys });
    expect((await app.request('/v1/status')).headers.get('www-authenticate')).toMatch(/^Bearer /);
    const headers = { Authorization: `Basic ${btoa(`anybody:${secret}`)}` };
    expect((await app.request('/v1/status', { headers })).status).toBe(200);
    for (const wrong of ['Bearer nothing', 'Basic !', 'Digest x', secret]) {
      const response = await app.request('/v1/status', { headers: { Authorization: wrong } });
      expect(response.status).toBe(401);
      expect(await response.text()).not.toContain('nothing');
    }
  });

  it('a revoked key ends the events that it was let in to, and is told nothing more', async () => {
    const keys = freshFile();
    const [auditor, admin] = [await keys.create('audit'), await keys.create('admin')];
    const app = start({ keys });
    const open = async (secret: string) => {
      const { body } = await app.request('/v1/events', { headers: bearer(secret) });
      const events = parseEvents(body!);
      expect((await events.next()).value).toMatchObject({ event: 'hello' });
      return events;
    };
    const [ended, going] = [await open(auditor.secret), await open(admin.secret)];
    await keys.revoke(auditor.key.id);
    await app.request('/v1/erasures', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...bearer(admin.secret) },
      body: JSON.stringify({ records: ['train/0'] }),
    });
    expect((await going.next()).value).toMatchObject({ event: 'version' });
    expect(await ended.next()).toEqual({ done: true, value: undefined });
    await going.return(undefined);
  });

  it('a first key ends the events of those who needed none', async () => {
    const keys = freshFile();
    const app = start({ keys, heartbeatMs: 5 });
    const events = parseEvents((await app.request('http://localhost/v1/events')).body!);
    await events.next();
    await keys.create('admin');
    expect((await events.next()).done).toBe(true);
  });

  it('without keys answers this machine alone, whatever a name in the DNS says', async () => {
    const app = start({ keys: freshFile() });
    for (const host of ['localhost', '127.0.0.1:8787', '[::1]:8787'])
      expect((await predict(app, {}, `http://${host}/v1/predict`)).status).toBe(200);
    const foreign = await predict(app, {}, 'http://rebound.example/v1/predict');
    expect([foreign.status, await codeOf(foreign)]).toEqual([403, 'host']);
  });
});

describe('limits', () => {
  it('turns away a key that asks too often, and no other', async () => {
    const keys = freshFile();
    const [often, seldom] = [await keys.create('inference'), await keys.create('inference')];
    const app = start({ keys, rateLimit: 2 });
    const statuses: number[] = [];
    for (let n = 0; n < 6; n++) statuses.push((await predict(app, bearer(often.secret))).status);
    expect(statuses).toEqual([200, 200, 200, 200, 429, 429]);
    const refused = await predict(app, bearer(often.secret));
    expect([refused.headers.get('retry-after'), await codeOf(refused)]).toEqual(['1', 'rate-limit']);
    expect((await predict(app, bearer(seldom.secret))).status).toBe(200);
    expect((await app.request('/health/live')).status).toBe(200);
  });

  it('keeps nothing of what strangers send, however long it is', async () => {
    const keys = freshFile();
    const { secret } = await keys.create('inference');
    const app = start({ keys, maxBody: 10_000 });
    const send = async (headers: Record<string, string>): Promise<[number, number]> => {
      let pieces = 0;
      const body = new ReadableStream<Uint8Array>({
        pull(controller) {
          pieces++;
          controller.enqueue(new Uint8Array(1000));
        },
      });
      const all = { 'Content-Type': 'application/json', 'Transfer-Encoding': 'chunked', ...headers };
      const init = { method: 'POST', headers: all, body, duplex: 'half' } as RequestInit;
      return [(await app.request('/v1/predict', init)).status, pieces];
    };
    // A stream has one piece ready.
    expect(await send({})).toEqual([401, 1]);
    expect(await send(bearer('guess'))).toEqual([401, 1]);
    const [status, pieces] = await send(bearer(secret));
    expect(status).toBe(413);
    expect(pieces).toBeGreaterThan(10);
  });

  it('turns away an address that tries wrong keys', async () => {
    const keys = freshFile();
    const { secret } = await keys.create('inference');
    const app = start({ keys });
    const statuses = new Set<number>();
    for (let n = 0; n < 15; n++) statuses.add((await predict(app, bearer(`guess-${n}`))).status);
    expect([...statuses]).toEqual([401, 429]);
    expect((await predict(app, bearer(secret))).status).toBe(200);
  });
});
