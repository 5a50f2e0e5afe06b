import { readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digestOf } from '@s3t/algorithm';
import { AdapterStore, Ledger, openLedger } from '@s3t/ledger';
import { openCheckpoint, parsePublicKey, utf8, verifyConsistency, verifyReceipt } from '@s3t/ledger/log';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { audit } from './audit.ts';
import { sharedDevice } from './testing/device.ts';
import { gate } from './testing/gate.ts';
import { Project } from './testing/project.ts';
import type { ErasurePhases } from './types.ts';
import { Unlearner } from './unlearner.ts';

const device = sharedDevice();
let project: Project;

/** A closed run that was trained: tests work on copies of it. */
beforeAll(async () => {
  project = await Project.make();
  const run = await project.open('trained', { device: device() });
  await run.train();
  await run.close();
});
afterAll(() => project[Symbol.asyncDispose]());
afterEach(() => vi.restoreAllMocks());

async function trained(name: string): Promise<Unlearner> {
  await project.copy('trained', name);
  return project.open(name, { device: device() });
}

const open = (name: string, signingKey?: string): Promise<Unlearner> =>
  Unlearner.open({ run: project.path(name), device: device(), signingKey });

test('there is none under what no erasure can be called', async () => {
  await using run = await trained('strange');
  for (const id of ['', 'x', '\0', `a\0b`, '\ud800', "'; --", '0'.repeat(10_000)])
    expect(await run.receipt(id)).toBeNull();
});

test('an erasure in force has none before its weights are destroyed, and is known', async () => {
  await using run = await trained('destroying');
  const { reached, release } = gate(AdapterStore.prototype, 'destroyAll', 'before');
  const erasing = run.erase([project.idsIn(0, 0)[0]!]);
  await reached;
  const [known, ...others] = await run.unfinished();
  expect(others).toEqual([]);
  expect(await run.receipt(known!.erasure)).toBeNull();
  release();
  const { acknowledgedMs, acknowledgedAt, ...receipt } = await erasing;
  expect(receipt).toEqual(known);
  expect(await run.unfinished()).toEqual([]);
  expect(await run.receipt(receipt.erasure)).toEqual({ ...receipt, acknowledgedMs, acknowledgedAt });
});

describe('a receipt file', () => {
  test('says what the erasure did, and no id of a record', async () => {
    await using run = await trained('says');
    const ids = [project.idsIn(0, 1)[0]!, project.idsIn(1, 2)[0]!];
    const stages = (await run.status()).shards.flatMap(({ sequences }) =>
      sequences.flatMap((sequence) => sequence.stages),
    );
    const receipt = await run.erase(ids);
    const file = (await run.log.receiptFile(receipt.erasure))!;
    const { valid, statement } = await verifyReceipt(utf8(file), await run.log.publicKey());
    expect(valid).toBe(true);
    const { predicate, subject } = statement!;
    expect(subject[0].digest.sha256).toBe(receipt.after.manifest);
    expect(predicate).toMatchObject({
      erasure: receipt.erasure,
      before: { version: receipt.before.version, manifest: { sha256: receipt.before.manifest } },
      after: { version: receipt.after.version, manifest: { sha256: receipt.after.manifest } },
      times: { received: receipt.receivedAt, acknowledged: receipt.acknowledgedAt },
      device: { class: device().adapterClass, name: device().adapterName },
      software: { name: '@s3t/unlearner', version: '0.1.0' },
    });
    expect(predicate.times).not.toHaveProperty('repaired');
    expect(predicate.records).toMatchObject({ count: 2 });
    expect(predicate.request.sha256).toBe(digestOf(predicate.records.commitments));
    const told = predicate.deactivated.flatMap(({ stage, shard, sequences, position }) =>
      sequences.map((sequence) => ({ stage, shard, sequence, position })),
    );
    expect(told).toEqual(receipt.deactivated);
    const weights = new Map(stages.map((stage) => [stage.stage, stage.weights]));
    for (const stage of predicate.deactivated) expect(stage.weights.sha256).toBe(weights.get(stage.stage));
    const shown = `${file} ${atob(JSON.parse(file).envelope.payload)}`;
    for (const id of ids) {
      expect(shown).not.toContain(id);
      expect(shown).not.toContain(digestOf(id));
    }
  });

  test('comes with the times of all it took, in their order', async () => {
    await using run = await trained('times');
    const told: ErasurePhases[] = [];
    run.on((event) => {
      if (event.type === 'erased') told.push(event.phases!);
    });
    const began = performance.timeOrigin + performance.now();
    const drained = Promise.withResolvers<void>();
    await run.erase(project.idsIn(0, 1).slice(0, 1), {
      drain: () => {
        setTimeout(drained.resolve, 20);
        return drained.promise;
      },
    });
    const ended = performance.timeOrigin + performance.now();
    const [{ transaction, swap, drain, destroy, receipt }] = told as [Required<ErasurePhases>];
    for (const [first, next] of [
      [[began, began], transaction],
      [transaction, swap],
      [swap, drain],
      [swap, destroy],
      [drain, receipt],
      [destroy, receipt],
      [receipt, [ended, ended]],
    ] as const) {
      expect(next[0]).toBeGreaterThanOrEqual(first[1]);
      expect(next[1]).toBeGreaterThanOrEqual(next[0]);
    }
    // Weights are not kept until the last reader has gone.
    expect(destroy[0]).toBeLessThan(drain[1]);
    expect(drain[1] - drain[0]).toBeGreaterThan(15);
  });

  test('is the same whenever it is asked for, and the log goes on from it', async () => {
    const run = await trained('same');
    const [first, second] = project.idsIn(0, 0);
    const { erasure } = await run.erase([first!]);
    const file = (await run.log.receiptFile(erasure))!;
    const key = await parsePublicKey(await run.log.publicKey());
    const before = await openCheckpoint(JSON.parse(file).checkpoint, key);
    expect(before).toEqual(await openCheckpoint(await run.log.checkpoint(), key));
    await run.erase([second!]);
    expect(await run.log.receiptFile(erasure)).toBe(file);
    await run.close();
    await using again = await open('same');
    expect(await again.log.receiptFile(erasure)).toBe(file);
    const after = await openCheckpoint(await again.log.checkpoint(), key);
    expect(after.size).toBe(before.size + 2);
    const { hashes, to } = await again.log.consistency(before.size);
    expect(to).toBe(after.size);
    const claim = { from: before.size, oldRoot: before.root, to, newRoot: after.root };
    expect(verifyConsistency(claim, hashes)).toBe(true);
    for (const [field, from, size] of [
      ...([
        ['from', 0],
        ['from', after.size + 1],
        ['from', 2, 1],
        ['from', 1.5],
      ] as const),
      ...([
        ['to', 1, after.size + 1],
        ['to', 1, 0],
      ] as const),
    ])
      await expect(again.log.consistency(from, size)).rejects.toMatchObject({
        code: 'usage',
        message: expect.stringMatching(
          new RegExp(`^${field}: must be from 1 to \\d+, as .*; not ${field === 'to' ? size : from}$`),
        ),
      });
  });

  test('is there for an erasure that a failure or a restart had to finish', async () => {
    const run = await trained('finished');
    const [first, second] = project.idsIn(1, 0);
    vi.spyOn(AdapterStore.prototype, 'destroyAll').mockRejectedValueOnce(new Error('disk on fire'));
    await expect(run.erase([first!], { idempotencyKey: 'one' })).rejects.toThrow('disk on fire');
    const one = await run.erase([first!], { idempotencyKey: 'one' });
    expect(await verifyReceipt(utf8((await run.log.receiptFile(one.erasure))!))).toMatchObject({
      valid: true,
    });
    vi.spyOn(Ledger.prototype, 'acknowledge').mockRejectedValueOnce(new Error('killed'));
    await expect(run.erase([second!], { idempotencyKey: 'two' })).rejects.toThrow('killed');
    await run.close();
    await using again = await open('finished');
    const two = await again.erase([second!], { idempotencyKey: 'two' });
    expect(two.repeated).toBe(true);
    const { statement } = await verifyReceipt(utf8((await again.log.receiptFile(two.erasure))!));
    expect(statement!.predicate.times.acknowledged).toBe(two.acknowledgedAt);
  });

  test('is not there for what is no erasure, nor for one from before there were any', async () => {
    const run = await trained('old');
    expect(await run.log.receiptFile('nothing')).toBeNull();
    const acknowledge = Ledger.prototype.acknowledge;
    vi.spyOn(Ledger.prototype, 'acknowledge').mockImplementation(function (
      this: Ledger,
      erasure,
      { statement: _, ...input },
    ) {
      return acknowledge.call(this, erasure, input);
    });
    const { erasure } = await run.erase([project.idsIn(0, 2)[0]!]);
    expect(await run.receipt(erasure)).not.toBeNull();
    expect(await run.log.receiptFile(erasure)).toBeNull();
    await run.close();
    // As a run of an earlier version left it: it does not know the entry either.
    await using ledger = await openLedger({ store: 'file:', folder: project.path('old') });
    expect(await ledger.verifyChain()).toBeGreaterThan(1);
  });
});

test('an audit attacks a copy of the run, at three moments, and leaves the run as it was', async () => {
  const run = project.path('trained');
  const files = async () => (await readdir(run, { recursive: true })).sort();
  const [before, beside] = [await files(), await readdir(project.folder)];
  const ids = [...project.idsIn(0, 0).slice(0, 2), project.idsIn(1, 2)[0]!];
  const confidences = vi.spyOn(Unlearner.prototype, 'stackConfidences');
  const others: Promise<unknown>[] = [];
  const onMoment = () => {
    others.push(Unlearner.open({ run, device: device() }).catch(({ code }) => code));
    others.push(readdir(project.folder));
  };
  const { moments, ...report } = await audit({
    run,
    records: ids,
    device: device(),
    resamples: 20,
    onMoment,
  });
  // While the copy answers nobody erases from the run, and the copy lies within it.
  expect(await Promise.all(others)).toEqual(moments.flatMap(() => ['held', beside]));
  // The other shard's two stacks are the shadows.
  expect(report).toEqual({ records: 3, controls: 10, shadows: 2 });
  expect(moments.map(({ moment }) => moment)).toEqual(['before', 'after', 'retrained']);
  // Slice 0 comes first in one order and last in the other, slice 2 last and second.
  expect(moments.map(({ depths }) => depths)).toEqual([
    [3, 3],
    [2, 2],
    [3, 3],
  ]);
  for (const { attack } of moments) expect(attack).toMatchObject({ members: 3, others: 20, fpr: 0.01 });
  // What is served answers as the same prefix does among all; retrained stacks are others.
  const [all, served, , retrained] = await Promise.all(
    confidences.mock.results.map(({ value }) => value as ReturnType<Unlearner['stackConfidences']>),
  );
  for (const stack of served!.stacks) expect(all!.stacks).toContainEqual(stack);
  for (const stack of retrained!.stacks)
    expect(all!.stacks.map(({ stage }) => stage)).not.toContain(stack.stage);
  await expect(audit({ run, records: ['nobody'], device: device() })).rejects.toMatchObject({
    code: 'unknown-record',
  });
  expect(await readdir(project.folder)).toEqual(beside);
  expect(await files()).toEqual(before);
});

test('what a killed audit left is gone once the run is opened', async () => {
  await project.copy('trained', 'audited');
  await project.copy('trained', 'audited/audit.copy');
  await (await open('audited')).close();
  expect(await readdir(project.path('audited'))).not.toContain('audit.copy');
});

describe('the signing key', () => {
  const isFree = async (name: string) => !(await readdir(project.path(name))).includes('signing-key.pem');

  test('is made on first need, lies beside the database for its owner alone, and stays', async () => {
    const run = await trained('key');
    await run.erase([project.idsIn(0, 0)[0]!]);
    // An erasure waits for no key.
    expect(await isFree('key')).toBe(true);
    const [one, two] = await Promise.all([run.log.publicKey(), run.log.publicKey()]);
    expect(one).toBe(two);
    expect(one).toMatch(/^s3t\/[0-9a-f]{32}\+[0-9a-f]{8}\+\S{44}$/);
    const file = project.path('key', 'signing-key.pem');
    if (process.platform !== 'win32') expect((await stat(file)).mode & 0o777).toBe(0o600);
    await run.close();
    {
      await using again = await open('key');
      expect(await again.log.publicKey()).toBe(one);
    }
    const elsewhere = project.path('elsewhere.pem');
    await rename(file, elsewhere);
    {
      await using again = await open('key', elsewhere);
      expect(await again.log.publicKey()).toBe(one);
      expect(await isFree('key')).toBe(true);
    }
    vi.stubEnv('S3T_SIGNING_KEY', elsewhere);
    try {
      await using again = await open('key');
      expect(await again.log.publicKey()).toBe(one);
    } finally {
      vi.unstubAllEnvs();
    }
  });

  test('that was named and is not there, or is none, is told at once; its own, once it is needed', async () => {
    const name = 'no-key';
    const run = await trained(name);
    await run.close();
    const missing = project.path('missing.pem');
    await expect(open(name, missing)).rejects.toThrow(`${missing}: there is no such file`);
    await expect(open(name, project.configFile)).rejects.toThrow('is no Ed25519 private key in PEM');
    const file = project.path(name, 'signing-key.pem');
    await writeFile(file, 'mine');
    await using again = await open(name);
    const { erasure } = await again.erase([project.idsIn(0, 0)[0]!]);
    await expect(again.log.receiptFile(erasure)).rejects.toThrow(`${file}: is no Ed25519 private key in PEM`);
    expect(await readFile(join(project.path(name), 'signing-key.pem'), 'utf8')).toBe('mine');
  });
});
