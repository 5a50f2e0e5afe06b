import { afterEach, expect, it } from 'vitest';
import { createApp } from '../app.ts';
import { StandIn } from '../testing/stand-in.ts';

const run = new StandIn();
const app = createApp(run, { onError: () => {} });
afterEach(() => app.shutdown());

it('gives auditors the key, a checkpoint and proofs', async () => {
  const key = await app.request('/v1/log/key');
  expect(await key.text()).toBe(`${await run.log.publicKey()}\n`);
  const checkpoint = await app.request('/v1/log/checkpoint');
  expect(checkpoint.headers.get('content-type')).toMatch(/^text\/plain/);
  expect(await checkpoint.text()).toBe(await run.log.checkpoint());
  const proof = await app.request('/v1/log/consistency?from=2&to=4');
  expect(await proof.json()).toEqual(await run.log.consistency(2, 4));
  expect(await (await app.request('/v1/log/consistency?from=2')).json()).toMatchObject({ to: 5 });
});

it.each([
  ['', 'from'],
  ['?from=0', 'from'],
  ['?from=-1', 'from'],
  ['?from=1.5', 'from'],
  ['?from=1e3', 'from'],
  ['?from=2&to=x', 'to'],
  ['?from=4&to=2', 'from'],
  ['?from=1&to=6', 'to'],
])('answers %j with 400, naming the field', async (query, field) => {
  const response = await app.request(`/v1/log/consistency${query}`);
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ error: { path: `query.${field}` } });
});
