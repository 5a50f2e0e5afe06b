import { afterEach, expect, it } from 'vitest';
import { type App, createApp } from './app.ts';
import { jsonLog } from './request-log.ts';
import { image, post } from './testing/request.ts';
import { StandIn } from './testing/stand-in.ts';

let app: App;
afterEach(() => app.shutdown());

it('writes a line per request and per fault, with nothing of what was sent', async () => {
  const lines: string[] = [];
  const run = new StandIn();
  app = createApp(
    run,
    jsonLog((line) => lines.push(line)),
  );
  const asked = await post(app, '/v1/predict', { inputs: [image(77)] }, { 'X-Request-Id': 'customer-17' });
  await post(app, '/v1/erasures', { records: ['train/17'] }, { 'Idempotency-Key': 'ticket-of-17' });
  await app.request('/v1/erasures/somebody-17?limit=17');
  run.beforeAnswer = () => {
    throw new TypeError('record customer-17 is no number');
  };
  const failed = await post(app, '/v1/predict', { inputs: [image(1)] });
  const told = lines.map((line) => JSON.parse(line));
  const { version } = await run.status();
  expect(told).toMatchObject([
    { id: asked.headers.get('x-request-id'), method: 'POST', route: '/v1/predict', status: 200, key: null },
    { route: '/v1/erasures', status: 201, version },
    { method: 'GET', route: '/v1/erasures/:id', status: 404, version },
    { id: failed.headers.get('x-request-id'), error: 'TypeError', code: null, stack: expect.any(Array) },
    { id: failed.headers.get('x-request-id'), route: '/v1/predict', status: 500 },
  ]);
  expect(told[3].stack[0]).toMatch(/^at /);
  for (const line of lines) {
    expect(line).not.toMatch(/\n/);
    expect(line.replace(/"(at|ms|id|stack)":("[^"]*"|[\d.]+|\[[^\]]*\])/g, '')).not.toMatch(
      /17|77|ticket|customer/,
    );
  }
});
