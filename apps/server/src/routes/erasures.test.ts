import { EventEmitter } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { type App, createApp } from '../app.ts';
import type { AppOptions } from '../options.ts';
import { gate, image, post, settle } from '../testing/request.ts';
import { StandIn } from '../testing/stand-in.ts';

let app: App;
let run: StandIn;

function start(options: AppOptions = {}): void {
  run = new StandIn();
  app = createApp(run, { onError: () => {}, ...options });
}

afterEach(() => app.shutdown());

const errorOf = async (response: Response): Promise<{ code: string; message: string; path?: string }> =>
  ((await response.json()) as { error: { code: string; message: string; path?: string } }).error;

const completed = (receipts: readonly object[]) =>
  receipts.map((receipt) => ({ ...receipt, state: 'completed' }));

describe('erasures', () => {
  it('erases with 201 and a receipt that can be read again', async () => {
    start();
    const response = await post(app, '/v1/erasures', { records: ['train/0', 'train/1'] });
    expect(response.status).toBe(201);
    const receipt = (await response.json()) as { erasure: string; after: { version: number } };
    expect(receipt).toMatchObject({ records: 2 });
    expect(response.headers.get('x-s3t-version')).toBe(String(receipt.after.version));
    const location = response.headers.get('location')!;
    const erasure = { ...receipt, state: 'completed' };
    expect(await (await app.request(location)).json()).toEqual(erasure);
    expect(await (await app.request('/v1/erasures')).json()).toEqual({ erasures: [erasure] });
    expect((await app.request('/v1/erasures/nobody')).status).toBe(404);
    expect((await app.request('/v1/erasures?limit=0')).status).toBe(400);
  });

  it('lists those from before the app started, each once, with its repair', async () => {
    start();
    await post(app, '/v1/erasures', { records: ['train/0'] });
    await post(app, '/v1/erasures', { records: ['train/1'] });
    const earlier = (await run.receipts()).slice();
    await app.shutdown();
    app = createApp(run, { onError: () => {} });
    await post(app, '/v1/erasures', { records: ['train/2'] });
    run.tell({ type: 'repaired', erasures: [earlier[0]!.erasure], at: '2026-01-31T12:00:00.000Z' });
    const list = async (query = '') =>
      ((await (await app.request(`/v1/erasures${query}`)).json()) as { erasures: unknown[] }).erasures;
    const [first, ...rest] = completed(await run.receipts());
    const repaired = { repairedAt: '2026-01-31T12:00:00.000Z', state: 'repaired' };
    const expected = [{ ...first, ...repaired }, ...rest].reverse();
    expect(expected).toHaveLength(3);
    expect(await list()).toEqual(expected);
    await post(app, '/v1/erasures', { records: ['train/3'] });
    expect(await list('?limit=2')).toEqual(
      completed(await run.receipts())
        .slice(-2)
        .reverse(),
    );
  });

  it('tells of one whose weights are being destroyed', async () => {
    start();
    await post(app, '/v1/erasures', { records: ['train/0'] });
    const slow = gate();
    run.beforeAcknowledge = () => slow.opened;
    const asked = post(app, '/v1/erasures', { records: ['train/1'] });
    await settle();
    const told = async (path: string) => (await (await app.request(path)).json()) as Record<string, unknown>;
    const { erasures } = (await told('/v1/erasures')) as { erasures: Record<string, unknown>[] };
    expect(erasures.map(({ state }) => state)).toEqual(['deactivated', 'completed']);
    const path = `/v1/erasures/${erasures[0]!.erasure}`;
    expect(await told(path)).toEqual(erasures[0]);
    expect(erasures[0]).not.toHaveProperty('acknowledgedAt');
    // There is no receipt before.
    expect((await app.request(`${path}/receipt`)).status).toBe(404);
    expect(await told('/v1/erasures?limit=1')).toEqual({ erasures: erasures.slice(0, 1) });
    slow.open();
    const receipt = (await (await asked).json()) as object;
    expect(await told(path)).toEqual({ ...erasures[0], ...receipt, state: 'completed' });
  });

  it('changes nothing in a dry run', async () => {
    start();
    const before = await run.status();
    const response = await post(app, '/v1/erasures', { records: ['train/0'], dryRun: true });
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ dryRun: true, records: 1 });
    expect(await run.status()).toEqual(before);
  });

  it('tells on request what a dry run would leave, with nobody waiting for it', async () => {
    start();
    const shards = [{ shard: 0, depth: 2, accuracy: 0.5 }];
    const expected = { metric: 'accuracy' as const, accuracy: 0.5, examples: 8, version: 7, shards };
    run.expectation = { expected, depths: [2, 0, 0] };
    const body = { records: ['train/0'], dryRun: true };
    expect(await (await post(app, '/v1/erasures', body)).json()).not.toHaveProperty('expected');
    const told = await post(app, '/v1/erasures', { ...body, evaluate: true });
    expect([told.status, await told.json()]).toMatchObject([200, { dryRun: true, ...run.expectation }]);
    const refused = await post(app, '/v1/erasures', { records: ['train/0'], evaluate: true });
    expect([refused.status, await errorOf(refused)]).toMatchObject([400, { path: 'evaluate' }]);
    expect((await run.status()).erased).toBe(0);
    // A key is in nobody's way while a dry run with it is at work.
    const slow = gate();
    const erase = run.erase.bind(run);
    run.erase = async (target, options) => {
      if (options?.dryRun) await slow.opened;
      return erase(target, options);
    };
    const headers = { 'Idempotency-Key': 'k' };
    const waiting = post(app, '/v1/erasures', { ...body, evaluate: true }, headers);
    await settle();
    expect(await (await app.request('/metrics')).text()).toMatch(/^s3t_erasures_in_progress 0$/m);
    expect((await post(app, '/v1/erasures', { records: ['train/0'] }, headers)).status).toBe(201);
    slow.open();
    expect(await (await waiting).json()).toMatchObject({ repeated: true });
  });

  it('gives the same receipt for the same key, and 422 for another body', async () => {
    start();
    const headers = { 'Idempotency-Key': 'k-1' };
    const first = await post(app, '/v1/erasures', { records: ['train/0'] }, headers);
    const again = await post(app, '/v1/erasures', { records: ['train/0'] }, headers);
    expect([first.status, again.status]).toEqual([201, 200]);
    expect(await again.json()).toEqual({ ...((await first.json()) as object), repeated: true });
    const other = await post(app, '/v1/erasures', { records: ['train/1'] }, headers);
    expect(other.status).toBe(422);
    expect((await run.status()).erased).toBe(1);
  });

  it.each([
    ['/v1/erasures', { subject: 'somebody-1' }],
    [
      '/requests',
      {
        ...{ subject_request_id: 'a7551968-d5d6-44b2-9831-815ac9017798', subject_request_type: 'erasure' },
        ...{ submitted_time: '2026-01-31T12:00:00Z' },
        subject_identities: [
          {
            ...{ identity_type: 'controller_customer_id', identity_format: 'raw' },
            identity_value: 'somebody-1',
          },
        ],
      },
    ],
  ])(
    'lets no older answer leave after a retry that finished what failed half-way: %s',
    async (path, body) => {
      start({ egressMs: 5 });
      const outgoing = Object.assign(new EventEmitter(), { destroyed: false, destroy: () => {} });
      outgoing.destroy = () => {
        outgoing.destroyed = true;
      };
      const erase = run.erase.bind(run);
      // A run brings what failed to its end before it looks at a request, and then knows this one already.
      run.erase = async (target, { drain: _, ...options } = {}) => ({
        ...(await erase(target, options)),
        repeated: true,
      });
      const asked = (to: string, sent: object, env?: object) =>
        app.request(
          to,
          {
            ...{ method: 'POST', headers: { 'Content-Type': 'application/json' } },
            body: JSON.stringify(sent),
          },
          env,
        );
      expect((await asked('/v1/predict', { inputs: [image(1)] }, { outgoing })).status).toBe(200);
      expect((await asked('/v1/erasures', { records: ['train/0'], dryRun: true })).status).toBe(200);
      expect(outgoing.destroyed).toBe(false);
      expect((await asked(path, body)).status).toBe(200);
      expect(outgoing.destroyed).toBe(true);
    },
  );

  it('answers 409 while the first request with a key is at work', async () => {
    start();
    const slow = gate();
    run.beforeAcknowledge = () => slow.opened;
    const headers = { 'Idempotency-Key': 'k-1' };
    const first = post(app, '/v1/erasures', { records: ['train/0'] }, headers);
    await settle();
    const second = await post(app, '/v1/erasures', { records: ['train/0'] }, headers);
    expect(second.status).toBe(409);
    expect(await errorOf(second)).toMatchObject({ code: 'in-flight' });
    expect(await (await app.request('/metrics')).text()).toMatch(/^s3t_erasures_in_progress 1$/m);
    slow.open();
    expect((await first).status).toBe(201);
    expect((await post(app, '/v1/erasures', { records: ['train/0'] }, headers)).status).toBe(200);
  });

  it('404 for an unknown record, 409 for one erased before; nothing changes', async () => {
    start();
    await post(app, '/v1/erasures', { records: ['train/0'] });
    const before = await run.status();
    expect((await post(app, '/v1/erasures', { records: ['train/1', 'secret'] })).status).toBe(404);
    expect((await post(app, '/v1/erasures', { records: ['train/1', 'train/0'] })).status).toBe(409);
    expect(await run.status()).toEqual(before);
  });

  it('erases whom records are about, one or several, beside records', async () => {
    start();
    const headers = { 'Idempotency-Key': 'k-1' };
    const one = await post(app, '/v1/erasures', { subject: 'somebody-0' }, headers);
    expect([one.status, await one.json()]).toMatchObject([201, { records: 10 }]);
    expect((await post(app, '/v1/erasures', { subject: 'somebody-0' }, headers)).status).toBe(200);
    const body = { records: ['train/99'], subjects: ['somebody-1', 'somebody-2'], dryRun: true };
    expect(await (await post(app, '/v1/erasures', body)).json()).toMatchObject({ records: 21, dryRun: true });

    const before = await run.status();
    const gone = await post(app, '/v1/erasures', { subject: 'somebody-0' });
    expect([gone.status, (await errorOf(gone)).code]).toEqual([404, 'unknown-subject']);
    const nothing = await post(app, '/v1/erasures', { dryRun: true });
    expect([nothing.status, (await errorOf(nothing)).message]).toEqual([
      400,
      'expected records, subject or subjects',
    ]);
    for (const [wrong, path] of [
      [{ subject: '' }, 'subject'],
      [{ subjects: [] }, 'subjects'],
      [{ subjects: [7] }, 'subjects.0'],
    ] as const) {
      const response = await post(app, '/v1/erasures', wrong);
      expect([response.status, (await errorOf(response)).path]).toEqual([400, path]);
    }
    const many = await post(app, '/v1/erasures', { subjects: new Array(10_001).fill('x') });
    expect([many.status, (await errorOf(many)).path]).toEqual([413, 'subjects']);
    expect(await run.status()).toEqual(before);
  });

  it('400 for a key that is not one', async () => {
    start();
    const response = await post(app, '/v1/erasures', { records: ['train/0'] }, { 'Idempotency-Key': 'a b' });
    expect(response.status).toBe(400);
    expect(await errorOf(response)).toMatchObject({ path: 'headers.idempotency-key' });
  });

  it('refuses pages of other sites', async () => {
    start();
    const body = { records: ['train/0'] };
    const foreign: Record<string, string>[] = [
      { 'Sec-Fetch-Site': 'cross-site' },
      { Origin: 'http://elsewhere.example' },
    ];
    for (const headers of foreign) expect((await post(app, '/v1/erasures', body, headers)).status).toBe(403);
    expect((await post(app, '/v1/erasures', body, { 'Sec-Fetch-Site': 'same-origin' })).status).toBe(201);
  });

  it('gives receipts as files to keep, and says which have none', async () => {
    start();
    const [old, erasure] = await Promise.all(
      ['train/0', 'train/1'].map(async (id) => {
        const response = await post(app, '/v1/erasures', { records: [id] });
        return ((await response.json()) as { erasure: string }).erasure;
      }),
    );
    const response = await app.request(`/v1/erasures/${erasure}/receipt`);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/json');
    expect(response.headers.get('content-disposition')).toBe(
      `attachment; filename="receipt-${erasure}.json"`,
    );
    expect(await response.text()).toBe(await run.log.receiptFile(erasure!));
    const before = await app.request(`/v1/erasures/${old}/receipt`);
    expect(before.status).toBe(404);
    expect(await errorOf(before)).toMatchObject({ code: 'no-receipt-file' });
    const unknown = await app.request('/v1/erasures/nobody/receipt');
    expect(unknown.status).toBe(404);
    expect(await errorOf(unknown)).toMatchObject({ code: 'unknown-erasure' });
  });
});
