import { afterEach, describe, expect, it } from 'vitest';
import { type App, createApp } from '../app.ts';
import type { Message } from '../event-hub.ts';
import type { AppOptions } from '../options.ts';
import { parseEvents } from '../sse.ts';
import { post, settle } from '../testing/request.ts';
import { StandIn } from '../testing/stand-in.ts';

let app: App;
let run: StandIn;

function start(options: AppOptions = {}): void {
  run = new StandIn();
  app = createApp(run, { onError: () => {}, ...options });
}

/** Collects what a stream brings; `ended` resolves when it ends. */
async function follow(): Promise<{ messages: Message[]; ended: Promise<void>; leave(): void }> {
  const response = await app.request('/v1/events');
  expect(response.headers.get('content-type')).toBe('text/event-stream');
  const messages: Message[] = [];
  const events = parseEvents(response.body!);
  const ended = (async () => {
    for await (const message of events) messages.push(message);
  })();
  return { messages, ended, leave: () => void events.return(undefined) };
}

const names = (messages: readonly Message[]): string[] => messages.map(({ event }) => event);

afterEach(() => app.shutdown());

describe('GET /v1/events', () => {
  it('says hello with the status, then tells of an erasure: first the version, then the receipt', async () => {
    start();
    const { messages } = await follow();
    await settle();
    expect(messages).toEqual([
      {
        event: 'hello',
        data: {
          status: await run.status(),
          repair: {
            ...{ running: false, paused: false, done: 0, total: 0, failed: null },
            ...{ policy: { policy: 'manual' }, pending: 0, dueAt: null },
          },
        },
      },
    ]);
    const receipt = await (await post(app, '/v1/erasures', { records: ['train/0'] })).json();
    await settle();
    expect(names(messages)).toEqual(['hello', 'version', 'erased']);
    expect(messages[2]!.data).toEqual({ receipt });
  });

  it('throttles steps, and loses nothing else', async () => {
    start({ stepMs: 10_000 });
    const { messages } = await follow();
    await post(app, '/v1/erasures', { records: ['train/0'] });
    const { missing } = await run.status();
    await post(app, '/v1/repair', '');
    await expect.poll(() => names(messages), { timeout: 10_000 }).toContain('work-finished');
    await settle();
    const count = (name: string): number => names(messages).filter((event) => event === name).length;
    expect(count('stage-published')).toBe(missing);
    expect(count('stage-started')).toBe(missing);
    // One at once, and the newest before each event that follows steps; of 20 a stage.
    expect(count('step')).toBeLessThanOrEqual(missing + 1);
    expect(names(messages).at(-1)).toBe('repair');
    expect(messages.findLast(({ event }) => event === 'step')!.data).toMatchObject({ step: 20 });
  });

  it('ends when the app shuts down, and takes no one after', async () => {
    start();
    const { ended } = await follow();
    await app.shutdown();
    await ended;
    expect((await app.request('/v1/events')).status).toBe(503);
  });

  it('forgets readers that leave', async () => {
    start({ maxStreams: 1 });
    const response = await app.request('/v1/events');
    expect((await app.request('/v1/events')).status).toBe(503);
    await response.body!.cancel();
    const { leave } = await follow();
    leave();
  });

  it('opens nothing for HEAD', async () => {
    start({ maxStreams: 1 });
    for (let n = 0; n < 3; n++)
      expect((await app.request('/v1/events', { method: 'HEAD' })).status).toBe(200);
    expect((await app.request('/metrics')).ok).toBe(true);
    expect(await (await app.request('/metrics')).text()).toMatch(/^s3t_event_streams 0$/m);
  });

  it('disconnects a reader that does not read', async () => {
    start();
    const response = await app.request('/v1/events');
    await settle();
    for (let n = 0; n < 400; n++) run.bump();
    await settle();
    expect(await (await app.request('/metrics')).text()).toMatch(/^s3t_event_streams 0$/m);
    await response.body!.cancel();
  });

  it('keeps an idle stream alive', async () => {
    start({ heartbeatMs: 5 });
    const reader = (await app.request('/v1/events')).body!.getReader();
    let text = '';
    while (!text.includes(': beat')) text += new TextDecoder().decode((await reader.read()).value);
    await reader.cancel();
  });
});
