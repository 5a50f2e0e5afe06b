import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mnistDigits } from '@s3t/data';
import type { Status } from '@s3t/unlearner';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { ROOT, tinyRun } from '../testing/fixture.ts';
import { greyPng } from '../testing/png.ts';
import { type Outcome, outcomeOf, s3t, said, startS3t } from '../testing/s3t.ts';

// One run, from its first training to its last breath: the tests follow each other.
const PATIENCE = 600_000;

let folder: string;
let config: string;
let run: string;
beforeAll(async () => ({ folder, config, run } = await tinyRun()));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a command about the run that must succeed, and parses what it prints. */
async function json<T = Record<string, unknown>>(...args: string[]): Promise<T> {
  const outcome = await s3t([...args, '--run', run, '--json']);
  expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
  return JSON.parse(outcome.stdout);
}

const fails = async (code: number, message: string | RegExp, ...args: string[]): Promise<void> => {
  const outcome = await s3t([...args, '--run', run]);
  expect(outcome.stderr.trim().split('\n').at(-1)).toMatch(message);
  expect([outcome.code, outcome.stdout]).toEqual([code, '']);
};

describe('train', () => {
  test('a configuration with a slip is refused by name, with the right one', async () => {
    const wrong = join(folder, 'wrong.json');
    const good = JSON.parse(readFileSync(config, 'utf8'));
    writeFileSync(wrong, JSON.stringify({ ...good, training: { ...good.training, epoch: 2 } }));
    await fails(
      2,
      /^s3t: .*wrong\.json: training\.epoch: .*did you mean epochs\?$/,
      'train',
      '--config',
      wrong,
    );
    writeFileSync(wrong, JSON.stringify({ ...good, base: 'no/such/base' }));
    await fails(2, /^s3t: .*no\/such\/base/, 'train', '--config', wrong);
    await fails(2, /there is no run here/, 'train', '--config', config, '--resume');
  });

  test('Ctrl-C and kill -9 leave a run that the same command goes on with', {
    timeout: PATIENCE,
  }, async () => {
    const stopped = startS3t(['train', '--config', config, '--run', run]);
    const outcome = outcomeOf(stopped);
    await said(stopped, 'stderr', /train: 8 stages, \d+ steps/);
    stopped.kill('SIGINT');
    const { code, stderr, stdout } = await outcome;
    expect(stderr).toMatch(
      /stopping after this step[\s\S]*s3t: stopped: \d of 8 stages are trained and kept; the same command goes on from there\n$/,
    );
    expect([code, stdout]).toEqual([130, '']);

    const killed = startS3t(['train', '--config', config, '--run', run]);
    await said(killed, 'stderr', /train: \d stages/);
    killed.kill('SIGKILL');
    await new Promise((resolve) => killed.once('close', resolve));

    const result = await json('train', '--config', config, '--resume');
    expect(result).toMatchObject({ missing: 0, superseded: 0, seconds: expect.any(Number) });
    expect(await json('train', '--config', config)).toMatchObject({ trained: 0, manifest: result.manifest });
  });
});

describe('a trained run', { timeout: PATIENCE }, () => {
  test('status', async () => {
    const status = await json<Status & { expectedErasuresLeft: number }>('status');
    expect(status).toMatchObject({
      records: 96,
      erased: 0,
      missing: 0,
      manifest: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(
      status.shards.map(({ shard, servedDepth, servedSequence }) => [shard, servedDepth, servedSequence]),
    ).toEqual([
      [0, 2, 0],
      [1, 2, 0],
    ]);
    const stage = {
      position: 0,
      slice: 0,
      stage: expect.any(String),
      weights: expect.any(String),
      active: true,
      records: expect.any(Number),
    };
    expect(status.shards[0]!.sequences[0]).toMatchObject({ order: [0, 1], stages: [stage, {}] });
    expect(status.expectedErasuresLeft).toBeCloseTo(status.deletionRate);
    expect((await s3t(['status', '--run', run])).stdout).toMatch(/^ +0 +2 of 2 +0 +● 0 +● 1$/m);
  });

  test('eval', async () => {
    const evaluation = await json('eval');
    expect(evaluation).toMatchObject({ accuracy: expect.any(Number), examples: 64 });
    expect(evaluation.shards).toMatchObject([
      { shard: 0, accuracy: expect.any(Number), depth: 2 },
      { shard: 1 },
    ]);
    expect((await s3t(['eval', '--run', run])).stdout).toMatch(/^ensemble +\d+\.\d+ %$/m);
  });

  test('predict: an image file, a table of paths and pixels on stdin get the same answer', async () => {
    const [digit] = await mnistDigits(import.meta.url);
    const png = join(folder, 'digit.png');
    writeFileSync(png, greyPng(28, 28, digit!.pixels));
    writeFileSync(join(folder, 'list.csv'), 'id,path\nmine,digit.png\n');
    const args = ['--run', run, '--top', '2', '--json'];
    const row = { id: 7, image: { width: 28, height: 28, pixels: [...digit!.pixels] } };
    const outcomes = [
      await s3t(['predict', png, join(folder, 'list.csv'), ...args]),
      await s3t(['predict', '-', ...args], {
        input: `${JSON.stringify(row)}\n${JSON.stringify({ path: png })}\n`,
      }),
    ];
    const [files, lines] = outcomes.map(({ stdout }) => JSON.parse(stdout));
    const bytes = await s3t(['predict', '-', ...args], { input: readFileSync(png) });
    expect(JSON.parse(bytes.stdout).predictions).toEqual([{ ...files.predictions[0], id: 'stdin' }]);
    expect(files.predictions.map(({ id }: { id: string }) => id)).toEqual([png, 'mine']);
    expect(lines.predictions.map(({ id }: { id: string }) => id)).toEqual(['7', 'stdin:2']);
    const labels = [...files.predictions, ...lines.predictions].map((prediction) => prediction.labels);
    expect(labels[0]).toHaveLength(2);
    for (const other of labels) expect(other).toEqual(labels[0]);
    await fails(2, /^s3t: missing\.png: there is no such file/, 'predict', 'missing.png');
    const broken = await s3t(['predict', '-', '--run', run], {
      input: '{"image": {"width": 2, "height": 2, "pixels": [1]}}\n',
    });
    expect(broken).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('stdin, line 1: image.pixels: must hold'),
    });
  });
});

describe('export', { timeout: PATIENCE }, () => {
  test('writes a PEFT adapter of some stages, or the merged model', async () => {
    const adapter = join(folder, 'adapter');
    const { shards, manifest } = await json<Status>('status');
    const { stage, weights } = shards[1]!.sequences[0]!.stages[0]!;
    expect(await json('export', adapter, '--shard', '1', '--depth', '1')).toMatchObject({
      ...{ out: adapter, kind: 'adapter', shard: 1, depth: 1, stages: [{ stage, weights }], manifest },
    });
    const config = JSON.parse(readFileSync(join(adapter, 'adapter_config.json'), 'utf8'));
    expect(config).toMatchObject({ peft_type: 'LORA', r: 4, lora_alpha: 4, use_rslora: true });
    expect(readFileSync(join(adapter, 'adapter_model.safetensors'))).toEqual(
      readFileSync(join(run, 'adapters', `${weights}.safetensors`)),
    );
    const merged = join(folder, 'merged');
    const told = await s3t(['export', merged, '--run', run, '--shard', '0', '--merge']);
    expect(told).toMatchObject({ code: 0, stderr: '' });
    expect(told.stdout).toMatch(
      /merged: the merged model of shard 0, 2 stages, version \d+ \([0-9a-f]{12}\)\n$/,
    );
    expect(JSON.parse(readFileSync(join(merged, 'config.json'), 'utf8'))).toMatchObject({
      architectures: ['ViTForImageClassification'],
      id2label: { 9: '9' },
    });
    const stopped = startS3t(['export', join(folder, 'stopped'), '--run', run, '--shard', '0', '--merge']);
    const outcome = outcomeOf(stopped);
    await vi.waitUntil(() => existsSync(join(run, 'lock')), PATIENCE);
    stopped.kill('SIGINT');
    expect(await outcome).toMatchObject({
      ...{ code: 130, stdout: '' },
      stderr: expect.stringMatching(/s3t: stopped: nothing was exported\n$/),
    });
    expect(readdirSync(folder).filter((name) => name.startsWith('stopped'))).toEqual([]);
    await fails(2, /^s3t: shard: 2 is none of this run's 2/, 'export', join(folder, 'x'), '--shard', '2');
    // And back: as a base for other runs.
    const imported = join(folder, 'imported');
    const base = join(ROOT, 'assets/vit-tiny');
    const made = await s3t(['import', adapter, imported, '--base', base]);
    expect(made).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/imported: a base with \d+ layers changed/),
    });
    const about = JSON.parse(readFileSync(join(imported, 's3t-import.json'), 'utf8'));
    expect(about.adapter.weights).toBe(weights);
    const again = await s3t(['import', adapter, imported, '--base', base]);
    expect(again).toMatchObject({ code: 2, stderr: expect.stringContaining('exists already') });
  });
});

describe('erasing', { timeout: PATIENCE }, () => {
  test('what cannot be erased changes nothing', async () => {
    await fails(2, /^s3t: .*not in this run.*nothing was erased$/, 'erase', 'train/0', 'nobody');
    await fails(2, /^s3t: .*ids\.txt: the file does not exist$/, 'erase', '--file', join(folder, 'ids.txt'));
    const planned = await json('erase', 'train/0', '--dry-run', '--evaluate');
    const expected = { accuracy: expect.any(Number), examples: 64 };
    expect(planned).toMatchObject({ dryRun: true, records: 1, expected });
    const shown = await s3t(['erase', 'train/0', '--dry-run', '--run', run]);
    expect(shown.stdout).toMatch(/^Dry run: nothing was changed\.\n/);
    expect(shown.stdout).not.toMatch(/acknowledged|served depth/);
    await fails(2, /^s3t: erase: --evaluate.*--dry-run$/, 'erase', 'train/0', '--evaluate');
    expect(await json('status')).toMatchObject({ erased: 0, ...(planned.before as object) });
  });

  test('a receipt, once per key', async () => {
    writeFileSync(join(folder, 'ids.txt'), 'train/1\ntrain/2\n');
    const args = ['erase', 'train/0', '--file', join(folder, 'ids.txt'), '--idempotency-key', 'ticket-1'];
    const receipt = await json(...args);
    expect(receipt).toMatchObject({
      erasure: expect.any(String),
      records: 3,
      before: { version: expect.any(Number), manifest: expect.any(String) },
      after: { version: expect.any(Number), manifest: expect.any(String) },
      acknowledgedMs: expect.any(Number),
    });
    expect(receipt.deactivated).toContainEqual({
      stage: expect.stringMatching(/^[0-9a-f]{64}$/),
      shard: expect.any(Number),
      sequence: expect.any(Number),
      position: expect.any(Number),
    });
    // And what is left to serve.
    const { shards } = await json<Status>('status');
    expect(receipt.depths).toEqual(shards.map(({ servedDepth }) => servedDepth));
    expect(await json(...args)).toEqual({ ...receipt, repeated: true });
    await fails(1, /^s3t: .*another request$/, 'erase', 'train/5', '--idempotency-key', 'ticket-1');
    await fails(1, /^s3t: .*erased before/, 'erase', 'train/1');
    expect(await json('erasures')).toMatchObject({
      erasures: [{ erasure: receipt.erasure, records: 3, state: 'completed' }],
    });
    expect((await s3t(['erasures', '--run', run])).stdout).toMatch(
      new RegExp(`^${receipt.erasure} .* 3 .* not yet$`, 'm'),
    );
    expect(await json('status')).toMatchObject({ records: 93, erased: 3 });
  });

  test('its file is checked by somebody who has nothing else but the key', async () => {
    writeFileSync(join(folder, 'ids.txt'), 'train/1\ntrain/2\n');
    const file = join(folder, 'receipt.json');
    const key = join(folder, 'key.txt');
    const args = ['train/0', '--file', join(folder, 'ids.txt'), '--idempotency-key', 'ticket-1'];
    const receipt = await json('erase', ...args, '--receipt', file);
    writeFileSync(key, (await s3t(['key', '--run', run])).stdout);
    expect(await json('key')).toEqual({ publicKey: readFileSync(key, 'utf8').trim() });
    // Somewhere else, without a device.
    const elsewhere = mkdtempSync(join(folder, 'auditor-'));
    const env = { VK_DRIVER_FILES: '/nowhere', VK_ICD_FILENAMES: '/nowhere' };
    const check = (...args: string[]): Promise<Outcome> =>
      s3t(['verify', '--receipt', ...args], { cwd: elsewhere, env });
    const told = await check(file, '--public-key', key);
    expect(told).toMatchObject({ code: 0, stderr: '' });
    expect(told.stdout.match(/^✓ .*$/gm)).toHaveLength(7);
    expect(told.stdout).toMatch(/receipt\.json: valid\n$/);
    const { stdout, code } = await check(file, '--json', '--public-key', readFileSync(key, 'utf8').trim());
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      valid: true,
      statement: { predicate: { erasure: receipt.erasure, records: { count: 3 } } },
    });
    const bytes = readFileSync(file);
    bytes[bytes.length - 9]! ^= 1;
    writeFileSync(join(elsewhere, 'changed.json'), bytes);
    const changed = await check('changed.json');
    expect([changed.code, changed.stderr]).toEqual([1, '']);
    expect(changed.stdout).toMatch(/✗ .*\n\nchanged\.json: NOT valid\n$/);
  });

  test('repair, and proof that nothing is left', async () => {
    const { missing, erasuresBySlice } = await json<Status>('status');
    expect(missing).toBeGreaterThan(0);
    // What waits for a repair is no difference.
    const pending = await s3t(['verify', '--run', run, '--json']);
    const found = JSON.parse(pending.stdout);
    expect(found).toMatchObject({ identical: found.compared > 0, differing: [] });
    expect([found.missing.length, pending.code]).toEqual([missing, found.compared > 0 ? 0 : 2]);
    const { prior, erasures } = await json<{ prior: number[]; erasures: number[] }>(
      'prior',
      '--smoothing',
      '2',
    );
    expect(erasures).toEqual(erasuresBySlice);
    const [first, second] = erasures as [number, number];
    expect(first + second).toBeGreaterThan(0);
    expect(prior[0]).toBeCloseTo((first + 2) / (first + second + 4), 8);
    expect(await json('repair')).toMatchObject({ missing: 0 });
    const equal = { identical: true, compared: 4, differing: [], missing: [] };
    expect(await json('verify', '--from-scratch', '--shards', '0')).toEqual(equal);
    await fails(2, /^s3t: shards: 9 is none of this run's 2/, 'verify', '--from-scratch', '--shards', '9');
    const { shards } = await json<Status>('status');
    const { stage } = shards[1]!.sequences[1]!.stages[1]!;
    expect(await json('verify', '--stage', stage)).toEqual({ ...equal, compared: 1 });
  });

  test('verify: any difference is told by name and exits 1', async () => {
    const { shards } = await json<Status>('status');
    const { stage, weights } = shards[0]!.sequences[0]!.stages[0]!;
    const file = join(run, 'adapters', `${weights}.safetensors`);
    const bytes = readFileSync(file);
    const before = Buffer.from(bytes);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(file, bytes);
    const outcome = await s3t(['verify', '--run', run, '--json']);
    writeFileSync(file, before);
    expect(outcome.code).toBe(1);
    const told = outcome.stdout === '' ? outcome.stderr : outcome.stdout;
    expect(told).toContain(outcome.stdout === '' ? weights! : stage);
  });
});

describe('a run that a server holds', { timeout: PATIENCE }, () => {
  test('is reached through the server; other commands say who has it', async () => {
    const server = startS3t(['serve', '--run', run, '--port', '0', '--json', '--log', 'json']);
    const ended: Promise<Outcome> = outcomeOf(server);
    const { url } = JSON.parse(await said(server, 'stdout', /\{.*\}\n/));

    const status = await json<Status>('status');
    expect(status).toMatchObject({ records: 93, missing: 0 });
    const saved = join(folder, 'saved');
    const { manifest, version } = status;
    expect(await json('backup', saved)).toMatchObject({ manifest, version, signingKey: true });
    await fails(2, /^s3t: .*saved: is there already/, 'backup', saved);
    const file = join(folder, 'served.json');
    const receipt = await json('erase', 'train/10', '--idempotency-key', 'ticket-2', '--receipt', file);
    const { publicKey } = await json<{ publicKey: string }>('key');
    const checked = await s3t(['verify', '--receipt', file, '--public-key', publicKey]);
    expect(checked, checked.stdout).toMatchObject({ code: 0 });
    expect(receipt).toMatchObject({ records: 1, before: { version: status.version } });
    expect(receipt.depths).toHaveLength(2);
    await fails(2, /^s3t: .*not in this run/, 'erase', 'nobody');
    const pixels = Buffer.alloc(784, 9).toString('base64');
    const answer = await s3t(['predict', '-', '--run', run, '--json'], {
      input: `{"image":{"width":28,"height":28,"pixels":"${pixels}"}}`,
    });
    expect(JSON.parse(answer.stdout)).toMatchObject(receipt.after as object);
    // By hand is its policy, so none is due.
    expect(await json('repair', '--if-due')).toEqual({ due: false });
    expect(await json('repair', '--pause')).toMatchObject({ paused: true, pending: 1 });
    await fails(1, /^s3t: repairs are paused/, 'repair');
    expect(await json('repair', '--resume')).toMatchObject({ paused: false, running: false });
    expect(await json('repair')).toMatchObject({ missing: 0 });
    // What no server does is told with what can be done.
    const held = (then: string) =>
      new RegExp(`held by process ${server.pid} .*${url}; stop it first, or ${then}`);
    await fails(1, held(`have it measured there: POST ${url}/v1/history$`), 'eval');
    const copy = 'a copy of it: s3t backup, s3t restore$';
    await fails(1, held(`export from ${copy}`), 'export', join(folder, 'x'), '--shard', '0');
    await fails(1, held(`verify ${copy}`), 'verify');
    await fails(1, held(`audit ${copy}`), 'audit');
    const { erasures } = await json<{ erasures: object[] }>('erasures');
    expect(erasures).toMatchObject([
      { erasure: receipt.erasure, records: 1, state: 'repaired' },
      { records: 3, state: 'repaired' },
    ]);

    // From its first key on, the server wants one.
    const { key } = await json<{ key: string }>('api-key', 'create', '--role', 'audit');
    await fails(1, /^s3t: this needs an API key.*; set S3T_API_KEY to one that the server knows$/, 'status');
    const env = { S3T_API_KEY: key };
    expect(await s3t(['status', '--run', run], { env })).toMatchObject({ code: 0 });
    const refused = await s3t(['repair', '--run', run], { env });
    expect(refused).toMatchObject({
      code: 1,
      stderr: 's3t: this key has the role audit; this needs admin\n',
    });

    server.kill('SIGTERM');
    const { code, stderr } = await ended;
    expect([code, stderr]).toEqual([0, expect.stringMatching(/^no API keys: only this machine is served/)]);
    const lines = stderr.split('\n').filter((line) => line.startsWith('{'));
    expect(lines.map((line) => JSON.parse(line))).toContainEqual(
      expect.objectContaining({ route: '/v1/erasures', status: 201, version: expect.any(Number), key: null }),
    );
    expect(await json('verify')).toMatchObject({ identical: true });

    // What was erased after the backup does not come back with it.
    const args = [
      'restore',
      saved,
      '--run',
      join(folder, 'back'),
      '--journal',
      join(run, 'erasures.journal'),
    ];
    const restored = await s3t([...args, '--json']);
    expect(restored, restored.stderr).toMatchObject({ code: 0 });
    expect(JSON.parse(restored.stdout)).toMatchObject({ version, reapplied: 1, newerJournal: true });
    const back = await s3t(['status', '--run', join(folder, 'back'), '--json']);
    expect(JSON.parse(back.stdout)).toMatchObject({
      records: 92,
      manifest: (receipt.after as Status).manifest,
    });
    expect(await s3t(args)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/back: is not empty; restore/),
    });
  });
});
