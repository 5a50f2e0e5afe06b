import { afterEach, beforeEach, describe, expect, it, type MockInstance, vi } from 'vitest';
import { type App, createApp } from './app.ts';
import { parseEvents } from './sse.ts';
import { gate, post, settle } from './testing/request.ts';
import { StandIn } from './testing/stand-in.ts';

let app: App;
let run: StandIn;
/** How often the app has read a whole status. */
let statuses: MockInstance<StandIn['status']>;

beforeEach(() => {
  run = new StandIn();
  statuses = vi.spyOn(run, 'status');
  app = createApp(run, { onError: () => {} });
});
afterEach(() => app.shutdown());

async function numbers(): Promise<Record<string, number>> {
  const text = await (await app.request('/metrics')).text();
  const names = ['version', 'records', 'records_erased', 'stages_missing'];
  return Object.fromEntries(
    names.map((name) => [name, Number(new RegExp(`^s3t_${name} (\\S+)$`, 'm').exec(text)?.[1])]),
  );
}

async function truth(): Promise<Record<string, number>> {
  const { version, records, erased, missing } = await run.status();
  return { version, records, records_erased: erased, stages_missing: missing };
}

async function hello(): Promise<unknown> {
  const events = parseEvents((await app.request('/v1/events')).body!);
  const { value } = await events.next();
  await events.return(undefined);
  return value;
}

describe('/metrics and the hello of event streams', () => {
  it('take one status however often they are asked', async () => {
    expect(await numbers()).toEqual(await truth());
    const said = await hello();
    expect(await hello()).toEqual(said);
    await numbers();
    // One of them is the test's own.
    expect(statuses).toHaveBeenCalledTimes(2);
    expect(said).toMatchObject({ event: 'hello', data: { status: await run.status() } });
  });

  it('count what erasures change, and are right after repairs', async () => {
    await numbers();
    await settle();
    statuses.mockClear();
    for (const records of [['train/0'], ['train/1', 'train/2'], ['train/12']]) {
      await post(app, '/v1/erasures', { records });
      const told = await numbers();
      expect(statuses).not.toHaveBeenCalled();
      expect(told).toEqual(await truth());
      statuses.mockClear();
    }
    expect(await hello()).toMatchObject({ data: { status: await run.status() } });
    await post(app, '/v1/repair', {});
    await vi.waitFor(async () => expect((await truth()).stages_missing).toBe(0));
    await vi.waitFor(async () => expect(await numbers()).toEqual(await truth()));
  });

  it('count an erasure once that is at work while the run is read', async () => {
    const { opened, open } = gate();
    run.beforeAcknowledge = () => opened;
    const erased = post(app, '/v1/erasures', { records: ['train/0'] });
    await settle();
    await numbers();
    open();
    expect((await erased).status).toBe(201);
    expect(await numbers()).toEqual(await truth());
  });
});
