import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { deletionRate } from '@s3t/algorithm';
import { describe, expect, test } from 'vitest';
import { ROOT } from '../testing/fixture.ts';
import { type Outcome, s3t } from '../testing/s3t.ts';

/** A file that is there, and neither a receipt nor a key. */
const MAIN = join(ROOT, 'apps/cli/src/main.ts');

describe('wrong command lines: exit code 2, one clear line, nothing on stdout', () => {
  test.each([
    [['trian'], "s3t: unknown command 'trian' (Did you mean train?)"],
    [
      ['train', '--config', 'x', '--run', 'y', '--confg', 'z'],
      "s3t: unknown option '--confg' (Did you mean --config?)",
    ],
    [['train', '--config', 'x'], "s3t: required option '--run <dir>' not specified"],
    [
      ['erase', '--run', 'x'],
      's3t: erase: no records given: name their ids, a file of ids with --file, or whom they are about with --subject',
    ],
    [['verify', '--run', 'x', '--shards', '0'], 's3t: verify: --shards goes with --from-scratch'],
    [['verify'], 's3t: verify: name a run (--run), or the file of a receipt (--receipt)'],
    [['verify', '--run', 'x', '--public-key', 'k'], 's3t: verify: --public-key goes with --receipt'],
    [
      ['verify', '--receipt', 'r', '--stage', 's'],
      's3t: verify: --receipt needs no run and nothing of it; leave the rest out',
    ],
    [
      ['erase', '--run', 'x', 'a', '--dry-run', '--receipt', 'r'],
      's3t: erase: a dry run has no receipt; leave --receipt out',
    ],
    [['predict', '--run', 'x', 'file.bmp'], 's3t: predict: file.bmp: no kind of file it takes'],
    [
      ['serve', '--run', 'x', '--port', '80000'],
      "s3t: option '--port <n>' argument '80000' is invalid. It must be an integer from 0 to 65535.",
    ],
    [
      ['simulate', 'deletion-rate', '--strategy', 'best'],
      's3t: --strategy: unknown sequence strategy "best"; known: ',
    ],
    [
      ['sequences', '--slices', '3', '--budget', '7'],
      's3t: --budget: budget 7 is more than the 6 orders of 3 slices; the nearest valid value is 6',
    ],
    [
      ['api-key', 'create', '--run', 'x', '--role', 'root'],
      "s3t: option '--role <role>' argument 'root' is invalid. Allowed choices are inference, audit, admin.",
    ],
    [['api-key', 'list', '--run', 'no/such/run'], 's3t: no/such/run: there is no such folder'],
    [
      ['serve', '--run', 'no/such/run', '--host', '0.0.0.0'],
      's3t: 0.0.0.0: without API keys only this machine may be served; make one with s3t api-key create',
    ],
    [['train', '--config', 'no/such.json', '--run', 'x'], 's3t: no/such.json: there is no such file'],
    [['status', '--run', 'no/such/run'], 's3t: no/such/run: there is no run here'],
    [['verify', '--receipt', 'no/such'], 's3t: no/such: the file does not exist'],
    [['verify', '--receipt', MAIN, '--public-key', 'no/such'], 's3t: no/such: the file does not exist'],
    [
      ['verify', '--receipt', MAIN, '--public-key', MAIN],
      `s3t: --public-key: ${MAIN} is no public key: one looks like <name>+<8 hex digits>+<base64>`,
    ],
    [['erase', '--file', 'no/such.txt', '--run', 'x'], 's3t: no/such.txt: the file does not exist'],
  ])('s3t %j', async (args, message) => {
    const { code, stdout, stderr } = await s3t(args);
    expect(stderr.split('\n')).toEqual([expect.stringContaining(message), '']);
    expect([code, stdout]).toEqual([2, '']);
  });
});

test('help and version come on stdout; no command at all is wrong', async () => {
  const help = await s3t(['help', 'erase']);
  expect(help).toMatchObject({ code: 0, stderr: '' });
  expect(help.stdout).toContain('--idempotency-key <key>');
  expect(await s3t(['--version'])).toEqual({ code: 0, stdout: '0.1.0\n', stderr: '' });
  expect(await s3t([])).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('Usage: s3t') });
});

test('a receipt that is none is not valid, by the name of its file and field: exit code 1', async () => {
  const folder = mkdtempSync(join(tmpdir(), 's3t-cli-receipt-'));
  const file = join(folder, 'receipt.json');
  writeFileSync(file, '{}');
  expect(await s3t(['verify', '--receipt', file])).toEqual({
    code: 1,
    stdout: `✗ ${file}: format: is missing\n\n${file}: NOT valid\n`,
    stderr: '',
  });
  rmSync(folder, { recursive: true });
});

test('S3T_DEBUG=1 shows where an error comes from', async () => {
  const { stderr } = await s3t(['status', '--run', 'no/such/run'], { env: { S3T_DEBUG: '1' } });
  expect(stderr).toMatch(/^s3t: no\/such\/run: there is no run here.*\n\w*Error: .*\n +at /);
});

test('api-key: makes, lists and revokes keys, and shows the text of one once', async () => {
  const folder = mkdtempSync(join(tmpdir(), 's3t-cli-keys-'));
  const apiKey = async (...args: string[]): Promise<Outcome> => s3t(['api-key', ...args, '--run', folder]);
  const made = await apiKey('create', '--role', 'audit', '--name', 'the auditor');
  expect(made).toMatchObject({ code: 0, stdout: expect.stringMatching(/^s3t_[0-9a-f]{8}_[\w-]{43}\n$/) });
  const id = made.stdout.slice(4, 12);
  expect(made.stderr).toContain(`key ${id} (audit) is in ${join(folder, 'api-keys.json')}`);
  const key = { id, role: 'audit', name: 'the auditor', createdAt: expect.any(String) };
  expect(JSON.parse((await apiKey('list', '--json')).stdout)).toEqual({ keys: [key] });
  expect(await apiKey('revoke', id)).toEqual({ code: 0, stdout: `revoked ${id}\n`, stderr: '' });
  expect(await apiKey('revoke', id)).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/there is no key/),
  });
  // Without a key it serves no other machine; and revoking what is none writes no file.
  const refused = await s3t(['serve', '--run', folder, '--host', '0.0.0.0']);
  expect(refused).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(/holds no key, and/) });
  rmSync(join(folder, 'api-keys.json'));
  expect(await apiKey('revoke', 'deadbeef')).toMatchObject({ code: 1, stdout: '' });
  expect(readdirSync(folder)).toEqual([]);
  rmSync(folder, { recursive: true });
});

test('simulate deletion-rate: theory beside simulation', async () => {
  const options = { shards: 3, slices: 4, budget: 2 };
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const { stdout } = await s3t([
    'simulate',
    'deletion-rate',
    ...args,
    '--trials',
    '4000',
    '--seed',
    '7',
    '--json',
  ]);
  const result = JSON.parse(stdout);
  expect(result).toMatchObject({ ...options, strategy: 'cyclic', theory: deletionRate(options) });
  const { mean, std, trials } = result.simulated;
  expect(trials).toBe(4000);
  expect(Math.abs(mean - result.theory)).toBeLessThan((5 * std) / Math.sqrt(trials));
  expect((await s3t(['simulate', 'deletion-rate', ...args, '--trials', '100'])).stdout).toMatch(
    /^cyclic +3 +4 +2 +29\.40 /m,
  );
});

test('sequences: what a strategy picks', async () => {
  const { stdout } = await s3t([
    'sequences',
    '--slices',
    '4',
    '--budget',
    '4',
    '--prior',
    '0.7,0.1,0.1,0.1',
    '--json',
  ]);
  const { strategy, sequences, score, editDistance } = JSON.parse(stdout);
  expect({ strategy, editDistance }).toEqual({ strategy: 'cyclic', editDistance: 4 });
  expect(sequences.map((order: number[]) => order[0]).sort()).toEqual([0, 1, 2, 3]);
  expect(score).toBeGreaterThan(0);
  expect((await s3t(['sequences', '--slices', '3', '--budget', '2'])).stdout).toMatch(/^ +1 +1 2 0 /m);
});

describe('doctor', () => {
  test('says what device there is and exits 0', async () => {
    const { code, stdout } = await s3t(['doctor', '--kernels', '--json']);
    expect(JSON.parse(stdout)).toMatchObject({
      ok: true,
      node: { ok: true, version: process.versions.node },
      adapter: {
        ...{ ok: true, class: expect.any(String), kernelsChecked: true },
        limits: { maxBufferSize: expect.any(Number) },
      },
      pglite: { ok: true },
      sharp: { ok: true },
      problems: [],
    });
    expect(code).toBe(0);
  });

  test.runIf(process.platform === 'linux')('without an adapter says how to get one and exits 1', async () => {
    const env = { VK_DRIVER_FILES: '/nowhere', VK_ICD_FILENAMES: '/nowhere' };
    const { code, stdout } = await s3t(['doctor'], { env });
    expect(stdout).toMatch(/✗ no WebGPU adapter/);
    expect(stdout).toMatch(/missing: no WebGPU adapter[\s\S]*npm run setup/);
    expect(code).toBe(1);
  });
});

test('the launcher finds its Node, and hands on arguments and exit codes', async () => {
  const launcher = join(ROOT, 'apps/cli/bin/s3t.mjs');
  const run = (args: string[]): ReturnType<typeof launch> => launch(process.execPath, [launcher, ...args]);
  expect((await run(['sequences', '--slices', '2', '--budget', '1', '--json'])).stdout).toContain(
    '"sequences"',
  );
  await expect(run(['no-such-command'])).rejects.toMatchObject({ code: 2 });
});

const launch = promisify(execFile);
