// A server process on a small trained run: what it has acknowledged outlasts kill -9, and its run can be backed up while it has it.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { mnistDigits } from '@s3t/data';
import { type Client, connect } from '@s3t/server/client';
import type { Status } from '@s3t/unlearner';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { tinyRun } from '../testing/fixture.ts';
import { greyPng } from '../testing/png.ts';
import { outcomeOf, s3t, said, startS3t } from '../testing/s3t.ts';

const PATIENCE = 300_000;
/** Whom a record is about, and the request that erases it. */
const SUBJECT = 'somebody-7';
const REQUEST = 'a7551968-d5d6-44b2-9831-815ac9017798';

let folder: string;
let run: string;
let server: Awaited<ReturnType<typeof serve>>;
let receiver: Server;
/** Callbacks that came, and whether they are taken. */
const received: { body: string; headers: IncomingHttpHeaders }[] = [];
let isTaking = false;

beforeAll(async () => {
  let config: string;
  ({ folder, config, run } = await tinyRun());
  // The same digits as files, each about somebody.
  const digits = (await mnistDigits(import.meta.url)).slice(0, 48);
  mkdirSync(join(folder, 'rows'));
  const rows = digits.map(({ pixels, label }, n) => {
    writeFileSync(join(folder, 'rows', `${n}.png`), greyPng(28, 28, pixels));
    return JSON.stringify({ id: `digit-${n}`, who: `somebody-${n}`, label: String(label), path: `${n}.png` });
  });
  writeFileSync(join(folder, 'rows', 'train.jsonl'), `${rows.join('\n')}\n`);
  const content = JSON.parse(readFileSync(config, 'utf8'));
  const data = { train: 'rows/train.jsonl', id: 'id', label: 'label', image: 'path', subject: 'who' };
  writeFileSync(config, JSON.stringify({ ...content, data: { ...data, labels: content.data.labels } }));
  const trained = await s3t(['train', '--config', config, '--run', run]);
  expect(trained, trained.stderr).toMatchObject({ code: 0 });
  receiver = createServer(async (request, response) => {
    const body = await text(request);
    if (isTaking) received.push({ body, headers: request.headers });
    response.writeHead(isTaking ? 202 : 503).end();
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  server = await serve();
}, PATIENCE);
afterAll(async () => {
  await server?.kill();
  receiver?.close();
  rmSync(folder, { recursive: true, force: true });
});

async function serve(): Promise<{ client: Client; url: string; kill(): Promise<unknown> }> {
  const child = startS3t(['serve', '--run', run, '--port', '0', '--json']);
  const ended = outcomeOf(child);
  const { url } = JSON.parse(await said(child, 'stdout', /\{.*\}\n/));
  const kill = (): Promise<unknown> => {
    child.kill('SIGKILL');
    return ended;
  };
  return { client: connect(url), url, kill };
}

const activeOf = ({ shards }: Status): string[] =>
  shards.flatMap(({ sequences }) =>
    sequences.flatMap(({ stages }) => stages.flatMap(({ active, stage }) => (active ? [stage] : []))),
  );

const weightsIn = (where: string): string[] => readdirSync(join(where, 'adapters')).sort();

test('what a killed server acknowledged, was told and has yet to tell goes on with the next', {
  timeout: PATIENCE,
}, async () => {
  const { client } = server;
  const whole = await client.status();
  await client.pauseRepair();
  const callback = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/done`;
  const asked = await fetch(`${server.url}/requests`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({
      ...{
        subject_request_id: REQUEST,
        subject_request_type: 'erasure',
        submitted_time: '2026-01-31T12:00:00Z',
      },
      subject_identities: [
        { identity_type: 'controller_customer_id', identity_value: SUBJECT, identity_format: 'raw' },
      ],
      status_callback_urls: [callback],
    }),
  });
  expect(asked.status, await asked.clone().text()).toBe(201);
  const receipt = (await client.receipts())[0]!;
  const gone = receipt.deactivated.map(({ stage }) => stage);
  expect(gone.length).toBeGreaterThan(0);
  const file = await client.receiptFile(receipt.erasure);
  const weights = weightsIn(run);
  const points = await history();
  await server.kill();

  server = await serve();
  const again = server.client;
  const status = await again.status();
  expect(status).toMatchObject({ ...receipt.after, records: whole.records - 1, erased: 1 });
  expect(activeOf(whole)).toEqual(expect.arrayContaining(gone));
  for (const stage of gone) expect(activeOf(status)).not.toContain(stage);
  expect(weightsIn(run)).toEqual(weights);
  const pixels = new Uint8Array(784).fill(9);
  const answer = await again.predict([{ image: { width: 28, height: 28, channels: 1, pixels } }]);
  expect(answer).toMatchObject(receipt.after);

  expect(await again.receipts()).toEqual([receipt]);
  expect(await again.receiptFile(receipt.erasure)).toBe(file);
  const saved = join(folder, 'receipt.json');
  writeFileSync(saved, file);
  const checked = await s3t(['verify', '--receipt', saved, '--public-key', await again.publicKey()]);
  expect(checked, checked.stdout).toMatchObject({ code: 0 });

  expect(points.length).toBeGreaterThan(1);
  expect((await history()).slice(0, points.length)).toEqual(points);
  expect(await again.repairState()).toMatchObject({ paused: true, running: false, pending: 1 });
  isTaking = true;
  await expect.poll(() => received.length, { timeout: 30_000 }).toBe(1);
  const [told] = received;
  expect(JSON.parse(told!.body)).toMatchObject({ subject_request_id: REQUEST, request_status: 'completed' });
  expect(told!.headers['x-opendsr-signature']).toBeTruthy();

  await again.resumeRepair();
  await again.repair();
  await expect.poll(async () => (await again.repairState()).running, { timeout: 60_000 }).toBe(false);
  const repaired = await again.status();
  expect(repaired).toMatchObject({ missing: 0, records: whole.records - 1 });
  // Stages that never saw the record have other names.
  for (const stage of gone) expect(activeOf(repaired)).not.toContain(stage);
  expect((await again.receipt(receipt.erasure)).repairedAt).toBeTruthy();
});

/** Versions and depths; when a version was noted in memory is not when the ledger took it. */
async function history(): Promise<{ version: number; depths: number[] }[]> {
  const { points } = (await (await fetch(`${server.url}/v1/history`)).json()) as {
    points: { version: number; depths: number[] }[];
  };
  return points.map(({ version, depths }) => ({ version, depths }));
}

test('a run that a server has is backed up to another file system, which shows how far it is', {
  timeout: PATIENCE,
}, async ({ skip }) => {
  const elsewhere = join(folder, 'elsewhere');
  mkdirSync(elsewhere);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=300m', 'tmpfs', elsewhere], { stdio: 'ignore' });
  } catch {
    return skip('mounting takes root');
  }
  try {
    const status = await server.client.status();
    const messages: unknown[] = [];
    const leave = new AbortController();
    const events = server.client.events(leave.signal);
    await events.next();
    const following = (async () => {
      for await (const { event, data } of events) if (event === 'backup') messages.push(data);
    })().catch(() => {});
    const into = join(elsewhere, 'deep', 'saved');
    const made = await s3t(['backup', into, '--run', run, '--json']);
    expect(made, made.stderr).toMatchObject({ code: 0, stderr: '' });
    const { files, ...told } = JSON.parse(made.stdout);
    expect(told).toMatchObject({ version: status.version, manifest: status.manifest, erasures: 1 });
    expect(messages.at(-1)).toEqual({ done: files, total: files });
    expect(messages.length).toBeGreaterThan(50);
    leave.abort();
    await following;
    expect(existsSync(join(run, 'backup.staged'))).toBe(false);
    expect(readdirSync(join(elsewhere, 'deep'))).toEqual(['saved']);
    expect(weightsIn(into)).toEqual(weightsIn(run));
    const back = join(folder, 'back');
    const restored = await s3t(['restore', into, '--run', back, '--json']);
    expect(restored, restored.stderr).toMatchObject({ code: 0 });
    expect(JSON.parse(restored.stdout)).toMatchObject({ files, version: status.version });

    // A disk without room for it: nothing is left, here or there.
    execFileSync('mount', ['-o', `remount,size=${60 * 2 ** 20}`, elsewhere], { stdio: 'ignore' });
    const full = await s3t(['backup', join(elsewhere, 'second'), '--run', run]);
    expect(full).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/ENOSPC/) });
    expect(readdirSync(elsewhere)).toEqual(['deep']);
    expect(existsSync(join(run, 'backup.staged'))).toBe(false);
  } finally {
    execFileSync('umount', ['-l', elsewhere]);
  }
});

test('a run whose ledger is in PostgreSQL is not backed up, and says what does', {
  timeout: PATIENCE,
}, async () => {
  const other = join(folder, 'postgres');
  mkdirSync(other);
  const store = 'postgres://127.0.0.1:1/nowhere';
  writeFileSync(join(other, 'run.json'), JSON.stringify({ format: 's3t-run-1', store }));
  const into = join(folder, 'never');
  expect(await s3t(['backup', into, '--run', other])).toEqual({
    code: 2,
    stdout: '',
    stderr: `s3t: ${other}: the ledger of this run is in PostgreSQL, which pg_dump backs up; stop the run, and copy its folder beside that\n`,
  });
  expect(existsSync(into)).toBe(false);
});
