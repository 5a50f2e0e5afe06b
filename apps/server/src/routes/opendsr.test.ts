import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, it, vi } from 'vitest';
import { type App, createApp } from '../app.ts';
import { gate, post, settle } from '../testing/request.ts';
import { StandIn } from '../testing/stand-in.ts';

let app: App;
let run: StandIn;
const servers: Server[] = [];

function start(): void {
  run = new StandIn();
  app = createApp(run, { callbackDelays: [1, 1], onError: () => {} });
}

afterEach(async () => {
  await app.shutdown();
  for (const server of servers.splice(0)) server.close();
});

const ID = 'a7551968-d5d6-44b2-9831-815ac9017798';
const request = (more: object = {}, subject = 'somebody-1') => ({
  ...{ subject_request_id: ID, subject_request_type: 'erasure', submitted_time: '2026-01-31T12:00:00Z' },
  subject_identities: [
    { identity_type: 'controller_customer_id', identity_value: subject, identity_format: 'raw' },
  ],
  ...more,
});

interface Received {
  body: string;
  headers: NodeJS.Dict<string | string[]>;
}

/** Takes callbacks, the first `refusals` of them not. */
async function receiver(refusals: number): Promise<{ url: string; received: Received[] }> {
  const received: Received[] = [];
  const server = createServer((incoming, outgoing) => {
    let body = '';
    incoming.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    incoming.on('end', () => {
      received.push({ body, headers: incoming.headers });
      outgoing.writeHead(received.length <= refusals ? 503 : 202).end();
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/callbacks`, received };
}

async function metric(result: string): Promise<number> {
  const text = await (await app.request('/metrics')).text();
  return Number(new RegExp(`^s3t_callbacks_total{result="${result}"} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
}

it('says what it does', async () => {
  start();
  expect(await (await app.request('/discovery')).json()).toEqual({
    api_version: '2.0',
    supported_identities: [{ identity_type: 'controller_customer_id', identity_format: 'raw' }],
    supported_subject_request_types: ['erasure'],
    processor_certificate: 'http://localhost/v1/log/key',
  });
});

it('erases, answers signed, tells of it until it is heard, and remembers', async () => {
  start();
  const { url, received } = await receiver(1);
  const body = request({ status_callback_urls: [url], extensions: { other: { a: 1 } }, api_version: '2.0' });
  const response = await post(app, '/requests', body);
  expect(response.status).toBe(201);
  const text = await response.text();
  const { encoded_request: encoded, ...told } = JSON.parse(text);
  expect(JSON.parse(atob(encoded))).toEqual(body);
  const known = {
    ...{ controller_id: 'anybody', subject_request_id: ID, api_version: '2.0', results_count: 10 },
    results_url: expect.stringMatching(/^http:\/\/localhost\/v1\/erasures\/[^/]+\/receipt$/),
    expected_completion_time: expect.any(String),
  };
  expect(told).toEqual({ ...known, received_time: expect.any(String) });
  expect(response.headers.get('x-opendsr-processor-domain')).toBe('localhost');
  const signatureOf = async (signed: string): Promise<string> =>
    btoa(String.fromCharCode(...(await run.log.sign(new TextEncoder().encode(signed)))));
  expect(response.headers.get('x-opendsr-signature')).toBe(await signatureOf(text));

  await expect.poll(() => metric('delivered')).toBe(1);
  expect(await metric('failed')).toBe(1);
  expect(received).toHaveLength(2);
  for (const { body: sent, headers } of received) {
    expect(JSON.parse(sent)).toEqual({ ...known, request_status: 'completed', status_callback_url: url });
    expect(sent).not.toContain('somebody');
    expect(headers['x-opendsr-signature']).toBe(await signatureOf(sent));
    expect(headers['content-type']).toBe('application/json');
  }
  const status = await app.request(`/requests/${ID}`);
  expect(await status.json()).toEqual({ ...known, request_status: 'completed' });
  // Sent again, it erases nothing, and tells again.
  expect((await post(app, '/requests', body)).status).toBe(200);
  await expect.poll(() => metric('delivered')).toBe(2);
  expect((await run.status()).erased).toBe(10);
});

it('gives up callbacks that nobody takes', async () => {
  start();
  const { url, received } = await receiver(Number.POSITIVE_INFINITY);
  await post(app, '/requests', request({ status_callback_urls: [url] }));
  await expect.poll(() => metric('given-up')).toBe(1);
  expect(received).toHaveLength(3);
});

it('goes on with a callback after a restart, with the tries that are left to it', async () => {
  start();
  const { url, received } = await receiver(2);
  await app.shutdown();
  app = createApp(run, { callbackDelays: [5, 60_000], onError: () => {} });
  await post(app, '/requests', request({ status_callback_urls: [url] }));
  await expect.poll(() => metric('failed')).toBe(2);
  await expect.poll(() => [...run.kept.values()].map((text) => JSON.parse(text).tries)).toEqual([2]);
  await app.shutdown();
  expect(received).toHaveLength(2);
  // Its hour has come while no server ran.
  for (const [name, text] of run.kept) run.kept.set(name, JSON.stringify({ ...JSON.parse(text), due: 0 }));
  app = createApp(run, { onError: () => {} });
  await expect.poll(() => received.length).toBe(3);
  expect(received[2]).toMatchObject({ body: received[0]!.body });
  expect(received[2]!.headers['x-opendsr-signature']).toBe(received[0]!.headers['x-opendsr-signature']);
  await expect.poll(() => run.kept.size).toBe(0);
  expect(await metric('delivered')).toBe(1);
});

it('goes on with callbacks though nothing can be read or kept for a while', async () => {
  start();
  const { url, received } = await receiver(2);
  const full = new Error('no space is left');
  const errors: unknown[] = [];
  const options = { callbackDelays: [1, 1], onError: (error: unknown) => errors.push(error) };
  const note = run.note.bind(run);
  vi.spyOn(run, 'note').mockImplementationOnce(note).mockRejectedValueOnce(full);
  await app.shutdown();
  app = createApp(run, options);
  await post(app, '/requests', request({ status_callback_urls: [url] }));
  await expect.poll(() => received.length).toBe(3);
  await expect.poll(() => run.kept.size).toBe(0);
  expect(errors).toEqual([full]);

  run.kept.set('callback/1', JSON.stringify({ url, body: '{}', headers: {}, tries: 0, due: 0 }));
  vi.spyOn(run, 'notes').mockRejectedValueOnce(full);
  await app.shutdown();
  app = createApp(run, options);
  await expect.poll(() => received.length).toBe(4);
  await expect.poll(() => run.kept.size).toBe(0);
  expect(errors).toEqual([full, full]);
});

it('is in progress while it is, and never to be cancelled', async () => {
  start();
  const slow = gate();
  run.beforeAcknowledge = () => slow.opened;
  const first = post(app, '/requests', request());
  await settle();
  expect((await post(app, '/requests', request())).status).toBe(409);
  const one = `/requests/${ID}`;
  expect((await app.request(one, { method: 'DELETE' })).status).toBe(400);
  slow.open();
  expect((await first).status).toBe(201);
  const cancelled = await app.request(one, { method: 'DELETE' });
  const message = 'only a pending request can be cancelled; this one is carried out';
  expect([cancelled.status, await cancelled.json()]).toEqual([
    400,
    { error: { code: 400, message, errors: [{ domain: 'request', reason: 'not-pending', message }] } },
  ]);
  const other = '/requests/00000000-0000-4000-8000-000000000000';
  for (const method of ['GET', 'DELETE']) expect((await app.request(other, { method })).status).toBe(404);
});

it.each([
  ['another type', { subject_request_type: 'access' }, 400, 'subject_request_type'],
  ['no id', { subject_request_id: 'A7551968' }, 400, 'subject_request_id'],
  ['nobody', { subject_identities: [] }, 400, 'subject_identities'],
  [
    'a hashed name',
    request().subject_identities.map((one) => ({ ...one, identity_format: 'sha256' })),
    400,
    '',
  ],
  [
    'a callback over plain HTTP',
    { status_callback_urls: ['http://example.org/x'] },
    400,
    'status_callback_urls.0',
  ],
  ['a callback to a file', { status_callback_urls: ['file:///etc/passwd'] }, 400, 'status_callback_urls.0'],
])('refuses %s', async (_, change, status, path) => {
  start();
  const more = Array.isArray(change) ? { subject_identities: change } : change;
  const response = await post(app, '/requests', request(more));
  const { error } = (await response.json()) as { error: { code: number; message: string } };
  expect([response.status, error.code, error.message.startsWith(path)]).toEqual([status, status, true]);
  expect((await run.status()).erased).toBe(0);
});

it('says who is not here by the place alone', async () => {
  start();
  const response = await post(app, '/requests', request({}, 'stranger'));
  const text = await response.text();
  expect(response.status).toBe(404);
  expect(text).not.toContain('stranger');
});
