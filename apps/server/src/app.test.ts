import { afterEach, describe, expect, it, vi } from 'vitest';
import { type App, createApp } from './app.ts';
import type { AppOptions } from './options.ts';
import type { RepairState } from './repair.ts';
import { image, post } from './testing/request.ts';
import { StandIn } from './testing/stand-in.ts';

let app: App;
let run: StandIn;

function start(options: AppOptions = {}): void {
  run = new StandIn();
  app = createApp(run, { onError: () => {}, ...options });
}

afterEach(() => app.shutdown());

const errorOf = async (response: Response): Promise<{ code: string; message: string; path?: string }> =>
  ((await response.json()) as { error: { code: string; message: string; path?: string } }).error;

describe('the app', () => {
  it('is live always, and ready while a shard serves and until it closes', async () => {
    start();
    expect((await app.request('/health/live')).status).toBe(200);
    expect((await app.request('/health/ready')).status).toBe(200);
    const everything = Array.from({ length: 1200 }, (_, n) => `train/${n}`);
    await post(app, '/v1/erasures', { records: everything });
    expect((await app.request('/health/ready')).status).toBe(503);
    await app.shutdown();
    expect((await app.request('/health/live')).status).toBe(200);
    expect((await app.request('/health/ready')).status).toBe(503);
    expect((await post(app, '/v1/predict', { inputs: [image(1)] })).status).toBe(503);
  });

  it('hides what went wrong inside, and logs it', async () => {
    const logged: unknown[] = [];
    start({ onError: (error) => logged.push(error) });
    run.beforeAnswer = () => {
      throw new Error('password at /srv/secret');
    };
    const response = await post(app, '/v1/predict', { inputs: [image(1)] });
    expect(response.status).toBe(500);
    expect(JSON.stringify(await errorOf(response))).not.toMatch(/secret|at /);
    expect(logged).toHaveLength(1);
  });

  it('repairs in the background, once', async () => {
    start();
    await post(app, '/v1/erasures', { records: ['train/0'] });
    const [first, second] = await Promise.all([post(app, '/v1/repair', ''), post(app, '/v1/repair', '')]);
    expect([first.status, second.status]).toEqual([202, 202]);
    expect(await first.json()).toMatchObject({ running: true, failed: null });
    await expect
      .poll(async () => (await (await app.request('/v1/repair')).json()) as object)
      .toMatchObject({ running: false });
    expect(await run.status()).toMatchObject({ missing: 0 });
  });

  it('repairs when the policy wants it, and holds still while it is paused', async () => {
    const state = async () => (await (await app.request('/v1/repair')).json()) as RepairState;
    start({});
    await post(app, '/v1/repair/pause', '');
    run.standing = {
      ...{ policy: { policy: 'batch', count: 1 }, pending: 1, since: Date.now() },
      ...{ isDue: true, dueAt: Date.now() },
    };
    await post(app, '/v1/erasures', { records: ['train/0'] });
    await expect.poll(state).toMatchObject({ paused: true, running: false, pending: 1, failed: null });
    expect((await post(app, '/v1/repair', '')).status).toBe(409);
    expect(await (await app.request('/metrics')).text()).toMatch(
      /^s3t_repair_paused 1$[\s\S]*^s3t_records_awaiting_repair 1$[\s\S]*^s3t_repair_due_seconds \d+/m,
    );
    await post(app, '/v1/repair/resume', '');
    await expect.poll(async () => (await state()).running).toBe(true);
    await post(app, '/v1/repair/pause', '');
    await new Promise((resolve) => setTimeout(resolve, 20));
    const { done } = await state();
    await new Promise((resolve) => setTimeout(resolve, 40));
    expect(await state()).toMatchObject({ running: true, paused: true, done });
    await post(app, '/v1/repair/resume', '');
    await expect.poll(state).toMatchObject({ running: false, pending: 0, dueAt: null, failed: null });
    expect(await run.status()).toMatchObject({ missing: 0 });
  });

  it('is held over a restart, until it is told to go on', async () => {
    start();
    run.standing = {
      ...{ policy: { policy: 'at-once' }, pending: 1, since: Date.now() },
      ...{ isDue: true, dueAt: Date.now() },
    };
    const repair = vi.spyOn(run, 'repair');
    await post(app, '/v1/repair/pause', '');
    const before = repair.mock.calls.length;
    const restart = async (): Promise<void> => {
      await app.shutdown();
      app = createApp(run);
    };
    await restart();
    const state = async () => (await (await app.request('/v1/repair')).json()) as RepairState;
    await expect.poll(state).toMatchObject({ paused: true, pending: 1 });
    expect(repair).toHaveBeenCalledTimes(before);
    await post(app, '/v1/repair/resume', '');
    await expect.poll(() => repair.mock.calls.length).toBeGreaterThan(before);
    await restart();
    await expect.poll(async () => (await state()).pending).toBeDefined();
    expect((await state()).paused).toBe(false);
  });

  it('tells the history of earlier processes too: versions, and what was measured', async () => {
    start();
    const points = async () =>
      ((await (await app.request('/v1/history')).json()) as { points: { at: number }[] }).points;
    const measured = await (await post(app, '/v1/history', '')).json();
    await app.shutdown();
    await new Promise((resolve) => setTimeout(resolve, 2));
    const depths = [1, 2, 3];
    run.past = [{ at: 5, version: 0, depths }];
    app = createApp(run);
    expect(await points()).toEqual([{ ...run.past[0], accuracy: null }, measured]);
    const again = await (await post(app, '/v1/history', '')).json();
    expect(await points()).toEqual([{ ...run.past[0], accuracy: null }, measured, again]);
  });

  it('waits for the hour of the policy, and longer after a repair that failed', async () => {
    start();
    run.standing = {
      ...{ policy: { policy: 'batch', minutes: 1 }, pending: 1, since: Date.now() },
      ...{ isDue: false, dueAt: Date.now() + 60 },
    };
    const errors: unknown[] = [];
    await app.shutdown();
    app = createApp(run, { onError: (error) => errors.push(error) });
    const repair = vi.spyOn(run, 'repair').mockRejectedValue(new Error('no memory'));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(repair).not.toHaveBeenCalled();
    await expect.poll(() => errors).toHaveLength(1);
    await new Promise((resolve) => setTimeout(resolve, 40));
    expect(repair).toHaveBeenCalledTimes(1);
    expect(await (await app.request('/v1/repair')).json()).toMatchObject({
      running: false,
      failed: 'internal',
    });
  });

  it('405 for a known path and 404 for an unknown one, as JSON', async () => {
    start();
    const response = await app.request('/v1/predict');
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('POST');
    expect(await errorOf(response)).toMatchObject({ code: 'method' });
    expect((await app.request('/v3')).status).toBe(404);
  });

  it('counts in /metrics', async () => {
    start();
    await post(app, '/v1/predict', { inputs: [image(1), image(2)] });
    await post(app, '/v1/erasures', { records: ['train/0'] });
    const text = await (await app.request('/metrics')).text();
    expect(text).toMatch(/^s3t_predicted_inputs_total 2$/m);
    expect(text).toMatch(/^s3t_erasures_total 1$/m);
    expect(text).toMatch(/^s3t_records_erased 1$/m);
    expect(text).toMatch(/^s3t_served_depth\{shard="1"\} 4$/m);
    expect(text).toMatch(/^s3t_http_requests_total\{route="\/v1\/predict",method="POST",status="200"\} 1$/m);
    for (const line of text.trimEnd().split('\n')) {
      expect(line).toMatch(
        /^(# (HELP|TYPE) s3t_|s3t_[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.e+-]+$)/,
      );
    }
  });

  it('describes every route in OpenAPI 3.1', async () => {
    start();
    const document = (await (await app.request('/openapi.json')).json()) as {
      openapi: string;
      paths: Record<string, Record<string, { responses: object; operationId: string }>>;
    };
    expect(document.openapi).toBe('3.1.0');
    expect(Object.keys(document.paths).sort()).toEqual([
      '/discovery',
      '/health/live',
      '/health/ready',
      '/info',
      '/metrics',
      '/predict',
      '/requests',
      '/requests/{id}',
      '/v1/backups',
      '/v1/chat/completions',
      '/v1/completions',
      '/v1/erasures',
      '/v1/erasures/{id}',
      '/v1/erasures/{id}/receipt',
      '/v1/events',
      '/v1/history',
      '/v1/log/checkpoint',
      '/v1/log/consistency',
      '/v1/log/key',
      '/v1/models',
      '/v1/models/{model}',
      '/v1/predict',
      '/v1/repair',
      '/v1/repair/pause',
      '/v1/repair/resume',
      '/v1/status',
      '/v2',
      '/v2/health/live',
      '/v2/health/ready',
      '/v2/models/{model}',
      '/v2/models/{model}/infer',
      '/v2/models/{model}/ready',
      '/v2/models/{model}/versions/{version}',
      '/v2/models/{model}/versions/{version}/infer',
      '/v2/models/{model}/versions/{version}/ready',
    ]);
    expect(JSON.stringify(document)).toContain('"maximum":255');
  });
});
