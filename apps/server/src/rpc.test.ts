import type { Receipt, Status } from '@s3t/unlearner';
import { expect, expectTypeOf, it } from 'vitest';
import { createApp } from './app.ts';
import type { Answer } from './batcher.ts';
import { rpc } from './rpc.ts';
import { StandIn } from './testing/stand-in.ts';

it('knows what each path takes and answers, and the server has them all', async () => {
  const app = createApp(new StandIn());
  const api = rpc('http://localhost', {
    fetch: async (input, init) => app.request(input instanceof URL ? input.href : input, init),
  });
  const status = await (await api.v1.status.$get()).json();
  expectTypeOf(status.shards[0]!.servedDepth).toEqualTypeOf<Status['shards'][number]['servedDepth']>();
  expect(status.shards[0]!.servedDepth).toBe(4);

  const image = { width: 2, height: 1, pixels: [7, 0] };
  const answer = await (await api.v1.predict.$post({ json: { inputs: [{ image }] } })).json();
  expectTypeOf(answer.version).toEqualTypeOf<Answer['version']>();
  expect(answer.answers[0]![0]!.label).toBe('label-7');
  // @ts-expect-error there is no such field
  expect((await api.v1.predict.$post({ json: { input: [] } })).status).toBe(400);

  const response = await api.v1.erasures.$post({
    json: { records: ['train/0'] },
    header: { 'idempotency-key': 'rpc' },
  });
  expectTypeOf(response.status).toEqualTypeOf<201>();
  expect(response.status).toBe(201);
  const receipt = await response.json();
  expectTypeOf(receipt.records).toEqualTypeOf<Receipt['records']>();
  const param = { id: receipt.erasure };
  expect(await (await api.v1.erasures[':id'].$get({ param })).json()).toEqual({
    ...receipt,
    state: 'completed',
  });
  const answers = await Promise.all([
    ...[api.v1.erasures.$get({ query: { limit: '1' } }), api.v1.repair.$get(), api.v1.repair.$post()],
    ...[api.v1.repair.pause.$post(), api.v1.repair.resume.$post()],
    ...[api.v1.history.$get(), api.v1.history.$post()],
    ...[api.v1.log.key.$get(), api.v1.log.checkpoint.$get()],
  ]);
  expect(answers.map(({ ok }) => ok)).toEqual(answers.map(() => true));
  const { points } = await (await api.v1.history.$get()).json();
  expect(points.at(-1)).toMatchObject({ accuracy: 0.75 });
  await app.shutdown();
});
