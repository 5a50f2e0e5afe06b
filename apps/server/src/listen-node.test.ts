import { connect as connectSocket, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { type App, createApp } from './app.ts';
import { connect, ServerError } from './client.ts';
import { listenNode } from './listen-node.ts';
import type { Listener } from './listener.ts';
import type { AppOptions } from './options.ts';
import { gate, image, settle } from './testing/request.ts';
import { StandIn } from './testing/stand-in.ts';

let app: App;
let run: StandIn;
let server: Listener;

async function start(options: AppOptions = {}, drainMs = 5000): Promise<void> {
  run = new StandIn();
  app = createApp(run, { onError: () => {}, ...options });
  server = await listenNode(app, { port: 0, host: '127.0.0.1', drainMs });
}

afterEach(() => server.close());

function predictionBytes(): string {
  const body = JSON.stringify({ inputs: Array.from({ length: 64 }, () => image(1)) });
  return `POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

async function leaving(): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  return Number(/^s3t_answers_leaving (\d+)$/m.exec(text)?.[1]);
}

describe('listenNode', () => {
  it('says where it listens, and why it cannot', async () => {
    await start();
    expect(server.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    const port = Number(new URL(server.url).port);
    await expect(listenNode(app, { port, host: '127.0.0.1', drainMs: 10 })).rejects.toThrow(
      `port: ${port} on 127.0.0.1 is in use`,
    );
  });

  it('closes promptly with event streams open and connections kept alive', async () => {
    await start();
    const client = connect(server.url);
    await client.status();
    const events = client.events();
    expect((await events.next()).value).toMatchObject({ event: 'hello' });
    const started = performance.now();
    await server.close();
    expect(performance.now() - started).toBeLessThan(1000);
    expect((await events.next()).done).toBe(true);
    await expect(client.status()).rejects.toThrow(expect.objectContaining({ code: 'unreachable' }));
  });

  it('answers what is under way when it closes', async () => {
    await start();
    const slow = gate();
    run.beforeAnswer = () => slow.opened;
    const client = connect(server.url);
    const asked = client.predict([{ text: { a: 'b' } }], { top: 1 });
    await expect.poll(() => run.batches.length).toBe(1);
    let closed = false;
    const closing = server.close().then(() => {
      closed = true;
    });
    await settle(50);
    expect(closed).toBe(false);
    slow.open();
    expect((await asked).answers).toEqual([[{ label: 'label-1', score: 0.988 }]]);
    await closing;
  });

  it('waits no longer than it is told to for a pass or a training step that does not end', async () => {
    await start({}, 50);
    run.beforeAnswer = () => new Promise(() => {});
    run.repair = () => new Promise(() => {});
    const client = connect(server.url);
    await client.repair();
    const asked = expect(client.predict([{ text: 'x' }])).rejects.toMatchObject({ code: 'unreachable' });
    await expect.poll(() => run.batches.length).toBe(1);
    await server.close();
    await asked;
  });

  it('cuts off, before an erasure is acknowledged, answers that a slow reader keeps waiting', async () => {
    await start({ egressMs: 20 });
    // Far more than the socket's buffers take.
    run.answer = () => [{ label: 'x'.repeat(300_000), score: 1 }];
    const reader: Socket = connectSocket(Number(new URL(server.url).port), '127.0.0.1');
    reader.on('error', () => {});
    reader.pause();
    reader.write(predictionBytes());
    // The answer waits in Node's memory because nobody reads.
    await expect.poll(leaving).toBe(1);
    await settle(200);
    expect(await leaving()).toBe(1);
    const receipt = await connect(server.url).erase(['train/0']);
    expect(receipt.deactivated.length).toBeGreaterThan(0);
    expect(await leaving()).toBe(0);
    reader.resume();
    await new Promise((resolve) => reader.once('close', resolve));
  });

  it('does not take an answer for leaving whose reader left while it was computed', async () => {
    await start();
    const slow = gate();
    run.beforeAnswer = () => slow.opened;
    const reader: Socket = connectSocket(Number(new URL(server.url).port), '127.0.0.1');
    reader.on('error', () => {});
    reader.write(predictionBytes());
    await expect.poll(() => run.batches.length).toBe(1);
    reader.destroy();
    await settle(50);
    slow.open();
    await settle(50);
    expect(await leaving()).toBe(0);
  });

  it('gives the client the errors as they were meant', async () => {
    await start();
    const error = await connect(server.url)
      .predict([])
      .catch((reason) => reason);
    expect(error).toBeInstanceOf(ServerError);
    expect(error).toMatchObject({
      status: 400,
      code: 'invalid',
      path: 'inputs',
      message: 'expected at least 1 item',
    });
  });
});
