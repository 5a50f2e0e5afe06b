import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type App, createApp } from '../app.ts';
import { gate, image, post, settle } from '../testing/request.ts';
import { StandIn } from '../testing/stand-in.ts';
import { hostService } from './host.ts';
import { processPort } from './process-port.ts';
import type { Port, ToRun } from './protocol.ts';
import { RemoteService } from './remote.ts';

const CHILD = new URL('../testing/stand-in-child.ts', import.meta.url);

let child: ChildProcess;
let run: RemoteService;
let app: App;

function start(...args: string[]): void {
  child = fork(CHILD, args, { serialization: 'advanced', execArgv: ['--conditions=@s3t/source'] });
}

async function open(): Promise<RemoteService> {
  const lost = new AbortController();
  // Not its exit, which may be told before its last messages are.
  child.once('disconnect', () => lost.abort());
  const service = new RemoteService();
  await service.connect(processPort(child), lost.signal);
  return service;
}

const predict = (first: number) => post(app, '/v1/predict', { inputs: [image(first)] });

/** A request whose answer the child holds back until an erasure, once it is in the pipe. */
async function heldBack(): Promise<{ response: Promise<Response> }> {
  const sent = vi.spyOn(run, 'predict');
  const response = Promise.resolve(predict(77));
  await expect.poll(() => sent.mock.calls.length, { interval: 1 }).toBe(1);
  return { response };
}

describe('RemoteService', () => {
  beforeEach(async () => {
    start();
    run = await open();
    app = createApp(run, { onError: () => {} });
  });

  afterEach(async () => {
    await app.shutdown();
    if (child.exitCode !== null || child.signalCode !== null) return;
    // The child ends of itself when its parent lets go.
    if (child.connected) child.disconnect();
    await once(child, 'exit');
  });

  it('answers, erases, repairs and signs through the pipe', async () => {
    const answered = await predict(3);
    expect([answered.status, answered.headers.get('x-s3t-version')]).toEqual([
      200,
      String(run.servedVersion),
    ]);
    expect((await run.version()).version).toBe(run.servedVersion);
    await run.note('a/1', { tries: 2 });
    expect(await run.notes('a/')).toEqual(new Map([['a/1', { tries: 2 }]]));
    expect(await run.history(5)).toEqual([]);
    const headers = { 'Idempotency-Key': 'k' };
    expect((await post(app, '/v1/erasures', { records: ['train/0'] }, headers)).status).toBe(201);
    expect((await post(app, '/v1/erasures', { records: ['train/0'] }, headers)).status).toBe(200);
    expect((await post(app, '/v1/erasures', { records: ['train/0'] })).status).toBe(409);
    const turns: number[] = [];
    const { trained } = await run.repair({ turn: async () => void turns.push(1) });
    expect([trained > 0, turns.length]).toEqual([true, trained * 20]);
    expect(await run.stageBackup()).toMatchObject({ erasures: 1, version: run.servedVersion });
    expect(await run.log.sign(new Uint8Array(7))).toEqual(new Uint8Array(64).fill(7));
  });

  it('has the version before an erasure drains, and sends no older answer', async () => {
    const before = run.servedVersion!;
    const held = await heldBack();
    const versions: (number | null)[] = [];
    const receipt = await run.erase(
      { records: ['train/0'] },
      { drain: async (version) => void versions.push(version, run.servedVersion) },
    );
    expect(versions).toEqual([receipt.after.version, receipt.after.version]);
    expect(receipt.after.version).toBeGreaterThan(before);
    // No text of the older version may go on.
    expect(run.validSince).toBe(receipt.after.version);
    const response = await held.response;
    expect(response.headers.get('x-s3t-version')).toBe(String(receipt.after.version));
    expect(await (await app.request('/metrics')).text()).toMatch(/^s3t_predictions_recomputed_total 1$/m);
  });

  it('acknowledges nothing before the app has drained, and not what it could not drain', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    let acknowledged = false;
    const erasing = run.erase({ records: ['train/0'] }, { drain: () => promise }).then(() => {
      acknowledged = true;
    });
    await run.status();
    expect(acknowledged).toBe(false);
    resolve();
    await erasing;
    const drain = () => Promise.reject(new Error('stuck'));
    await expect(run.erase({ records: ['train/1'] }, { drain })).rejects.toThrow('stuck');
  });

  it('reads a text piece by piece, and no further than it is asked', async () => {
    const text: string[] = [];
    for await (const piece of run.generate('four')) text.push(piece.text);
    expect(text.join('')).toBe('four');
    const end = new AbortController();
    const pieces = run.generate('four', { signal: end.signal });
    await pieces.next();
    end.abort();
    await expect(pieces.next()).rejects.toThrow('aborted');
  });

  it('stops a repair that is not wanted any more', async () => {
    await run.erase({ records: ['train/0'] });
    const end = new AbortController();
    const turn = async () => end.abort();
    await expect(run.repair({ signal: end.signal, turn })).rejects.toThrow('aborted');
  });

  it('answers 503 while a killed child is away, and stays alive', async () => {
    const held = await heldBack();
    child.kill('SIGKILL');
    const responses = [await held.response, await predict(1), await app.request('/health/ready')];
    expect(responses.map(({ status }) => status)).toEqual([503, 503, 503]);
    expect(responses[0]!.headers.get('retry-after')).toBe('1');
    expect((await post(app, '/v1/erasures', { records: ['train/0'] })).status).toBe(503);
    expect((await app.request('/health/live')).status).toBe(200);
    expect([run.servedVersion, run.validSince]).toEqual([null, null]);
  });

  it('lets the app close while a killed child is away, whatever waits for it', async () => {
    const asked = vi.spyOn(run, 'notes');
    const away = createApp(run, { onError: () => {} });
    expect(asked).toHaveBeenCalled();
    child.kill('SIGKILL');
    const kept = expect(run.note('kept', 1)).rejects.toMatchObject({ status: 503 });
    await once(child, 'exit');
    await away.shutdown();
    await kept;
  });
});

describe('RemoteService.connect', () => {
  it('throws what kept the other end from opening the run', async () => {
    start('refuse');
    const ended = once(child, 'exit');
    const error = { code: 'run-held', message: 'the run is held by process 7' };
    await expect(open()).rejects.toMatchObject(error);
    await ended;
  });

  it('throws when the other end is gone before it has opened the run', async () => {
    start();
    const opening = open();
    child.kill('SIGKILL');
    await expect(opening).rejects.toThrow('ended before it was open');
  });
});

/** Two ends of a pipe within this process. */
function pipe(): [Port, Port] {
  const heard: ((message: unknown) => void)[] = [];
  const end = (own: number): Port => ({
    send: (message) => queueMicrotask(() => heard[1 - own]?.(structuredClone(message))),
    receive: (listener) => {
      heard[own] = listener;
    },
  });
  return [end(0), end(1)];
}

describe('a RemoteService whose other end is replaced', () => {
  let service: RemoteService;
  let lost: AbortController;
  /** What the end of this moment was sent. */
  let sent: ToRun[];

  async function place(): Promise<void> {
    lost?.abort();
    lost = new AbortController();
    const messages: ToRun[] = [];
    sent = messages;
    const [near, far] = pipe();
    const send = (message: unknown) => {
      messages.push(message as ToRun);
      near.send(message);
    };
    const connected = service.connect({ ...near, send }, lost.signal);
    hostService(Object.assign(new StandIn(), { publishUrl: async () => {} }), far);
    await connected;
  }

  beforeEach(async () => {
    service = new RemoteService();
    await place();
  });

  it('tells the new one nothing that the lost one waited for', async () => {
    await service.erase({ records: ['train/0'] });
    const paused = gate();
    const turn = vi.fn(() => paused.opened);
    const repairing = service.repair({ turn });
    await expect.poll(() => turn.mock.calls.length).toBe(1);
    await place();
    // Begun again there, it finds nothing to do.
    expect(await repairing).toMatchObject({ trained: 0 });
    await service.erase({ records: ['train/0'] }, { drain: async () => {} });
    paused.open();
    await settle();
    expect(sent.filter(({ type }) => type === 'told')).toEqual([{ type: 'told', id: 1 }]);
  });

  it('fails a text of the lost one when its next piece is asked for', async () => {
    const pieces = service.generate('four');
    expect((await pieces.next()).value).toMatchObject({ text: 'f' });
    await place();
    await expect(pieces.next()).rejects.toMatchObject({ code: 'unavailable' });
  });
});
