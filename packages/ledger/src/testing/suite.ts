import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  AlreadyErasedError,
  DeterminismError,
  IdempotencyConflictError,
  type Ledger,
  LedgerError,
  type StoredRecord,
  UnknownRecordError,
} from '../index.ts';
import {
  all,
  digest,
  manifestOf,
  plan,
  publish,
  publishAll,
  SLICES,
  settle,
  testRecords,
  testRun,
} from './run.ts';

export interface Stand {
  /** An empty ledger. */
  fresh(): Promise<Ledger>;
  /** Closes it and opens the same again. */
  reopen(ledger: Ledger): Promise<Ledger>;
  done(ledger: Ledger): Promise<void>;
}

/** What a ledger must do on any database. */
export function ledgerSuite({ fresh, reopen, done }: Stand): void {
  let ledger: Ledger;
  const keys = testRecords(12).map(({ key }) => key);
  const request = (of: string[], more: { idempotencyKey?: string; dryRun?: boolean } = {}) => ({
    ...{ keys: of, requestDigest: digest(of.join()), receivedAt: 1000, at: 2000, ...more },
  });

  beforeEach(async () => {
    ledger = await fresh();
    ledger.useManifest(manifestOf);
  });
  afterEach(async () => {
    await done(ledger);
  });

  test('a ledger without a run says so', async () => {
    expect(await ledger.run()).toBeNull();
    await expect(ledger.version()).rejects.toMatchObject({ code: 'no-run' });
    await expect(ledger.erase(request([digest('x')]))).rejects.toMatchObject({ code: 'no-run' });
    expect(await ledger.verifyChain()).toBe(0);
  });

  test('a run keeps its options and records across a reopening', async () => {
    const created = await ledger.createRun(testRun());
    expect(created).toMatchObject({
      config: { base: 'tiny', seed: 1 },
      settingDigest: digest('{"seed":1}'),
      shards: 2,
    });
    expect(created).not.toHaveProperty('salt');
    ledger = await reopen(ledger);
    expect(await ledger.run()).toEqual(created);
    const stored = await all(ledger.records());
    expect(stored).toEqual(testRecords(12).sort((a, b) => (a.key < b.key ? -1 : 1)));
    expect(await ledger.counts()).toEqual({
      records: 12,
      erased: 0,
      slices: [
        [2, 2, 2],
        [2, 2, 2],
      ],
    });
    expect((await ledger.sliceRecords(1, 2)).map(({ key }) => key).sort()).toEqual(
      [keys[5], keys[11]].sort(),
    );
    expect(await ledger.version()).toEqual({ version: 0, manifest: manifestOf([]).digest });
    expect((await ledger.versions())[0]).toMatchObject({ version: 0, reason: 'created', manifest: [] });
    await expect(ledger.createRun(testRun())).rejects.toMatchObject({ code: 'run-exists' });
  });

  test('a run that cannot be is refused whole', async () => {
    const [first] = testRecords(1);
    for (const [records, code] of [
      [[first, first], 'duplicate-record'],
      [[{ ...first, slice: 3 }], 'invalid'],
      [[{ ...first, key: 'john@example.org' }], 'invalid'],
    ] as const) {
      const run = { ...testRun(), records: records as unknown as StoredRecord[] };
      await expect(ledger.createRun(run)).rejects.toMatchObject({ code });
      expect(await ledger.run()).toBeNull();
    }
  });

  test('what the database refuses is one line without SQL or parameters', async () => {
    await expect(ledger.sliceRecords(2 ** 40, 0)).rejects.toMatchObject({
      ...{
        code: 'database',
        message: expect.stringMatching(/^the ledger's database failed: .*out of range.*$/),
      },
    });
    const run = { ...testRun(), base: 'x\u0000', records: [] };
    await expect(ledger.createRun(run)).rejects.toBeInstanceOf(LedgerError);
    expect(await ledger.run()).toBeNull();
  });

  test('stages are published, in order, once', async () => {
    await ledger.createRun(testRun());
    await expect(publish(ledger, 0, 0, 1)).rejects.toMatchObject({ code: 'parent-missing' });
    const { stage, published } = await publish(ledger, 0, 0, 0);
    expect(published).toMatchObject({ published: true, repeated: false, version: 1 });
    expect((await publish(ledger, 0, 0, 0)).published).toMatchObject({
      published: true,
      repeated: true,
      version: 1,
    });
    expect(await ledger.activeStages()).toMatchObject([
      { id: stage.id, weights: stage.weights, lineage: ['0@0'], state: 'active' },
    ]);
    const other = await ledger.adapters.put(new TextEncoder().encode('other'));
    await expect(ledger.publishStage({ ...stage, weights: other })).rejects.toThrow(DeterminismError);
    await expect(ledger.publishStage({ ...stage, weights: digest('nowhere') })).rejects.toMatchObject({
      code: 'weights-missing',
    });
    await expect(ledger.publishStage({ ...stage, guard: [] })).rejects.toMatchObject({ code: 'invalid' });
    // The same content in another shard or sequence has the same id: both hold it.
    expect(await ledger.publishStage({ ...stage, sequences: [1] })).toMatchObject({
      published: true,
      repeated: false,
      version: 2,
    });
    expect(await ledger.publishStage({ ...stage, shard: 1 })).toMatchObject({ published: true, version: 3 });
    expect(await ledger.activeStages(0)).toMatchObject([{ sequences: [0, 1] }]);
    expect(await ledger.activeStages(1)).toMatchObject([{ id: stage.id, sequences: [0] }]);
    expect(await ledger.verifyChain()).toBe(4);
  });

  test('an erasure takes the record, its stages and their version', async () => {
    await ledger.createRun(testRun());
    await publishAll(ledger);
    const before = await ledger.version();
    const stages = await ledger.activeStages();
    const key = keys[2] as string; // shard 0, slice 1
    const erased = await ledger.erase(request([key, key]));
    expect(erased).toMatchObject({
      records: 1,
      before,
      after: { version: before.version + 1 },
      repeated: false,
      dryRun: false,
    });
    const spoilt = stages.filter(({ shard, slices }) => shard === 0 && slices.includes(1));
    expect(erased.deactivated.map(({ stage }) => stage).sort()).toEqual(spoilt.map(({ id }) => id).sort());
    expect(await ledger.activeStages()).toEqual(
      stages.filter((stage) => !spoilt.some(({ id }) => id === stage.id)),
    );
    expect(await ledger.version()).toEqual(erased.after);
    expect(await ledger.counts()).toMatchObject({
      records: 11,
      erased: 1,
      slices: [
        [2, 1, 2],
        [2, 2, 2],
      ],
    });
    expect((await all(ledger.records())).map((record) => record.key)).not.toContain(key);
    expect([await ledger.isErased(key), await ledger.isErased(keys[0] as string)]).toEqual([true, false]);
    expect(keys.filter(await ledger.erasedFilter())).toEqual([key]);
    expect(erased.commitments).toEqual([await ledger.commitment(key)]);
    expect(JSON.stringify([await all(ledger.entries()), await ledger.erasures()])).not.toContain(key);
    await expect(ledger.erase(request([key]))).rejects.toThrow(AlreadyErasedError);
    await ledger.verifyChain();
  });

  test('what an erasure spoilt is destroyed before it is acknowledged', async () => {
    await ledger.createRun(testRun());
    await publishAll(ledger);
    const { erasure, deactivated } = await ledger.erase(request([keys[0] as string]));
    const pending = await ledger.pendingDestruction();
    expect(pending).toEqual(deactivated.map(({ weights }) => weights).sort());
    const done = { acknowledgedAt: 3000, destroyedAt: 2900, receipt: { proof: 1 } };
    await expect(ledger.acknowledge(erasure, done)).rejects.toMatchObject({ code: 'not-destroyed' });
    expect(await ledger.erasures('in_progress')).toMatchObject([
      { id: erasure, receivedAt: 1000, committedAt: 2000, receipt: null },
    ]);
    ledger = await reopen(ledger);
    for (const weights of await ledger.pendingDestruction()) await ledger.adapters.destroy(weights);
    await ledger.acknowledge(erasure, done);
    await ledger.acknowledge(erasure, done);
    await expect(ledger.acknowledge(erasure, { ...done, receipt: 2 })).rejects.toMatchObject({
      code: 'acknowledged',
    });
    await expect(ledger.acknowledge('nope', done)).rejects.toMatchObject({ code: 'no-erasure' });
    expect(await ledger.erasure(erasure)).toMatchObject({
      state: 'completed',
      acknowledgedAt: 3000,
      receipt: { proof: 1 },
    });
    expect(await ledger.pendingDestruction()).toEqual([]);
    expect((await ledger.stages()).filter(({ state }) => state === 'destroyed')).toHaveLength(
      deactivated.length,
    );
    await ledger.verifyChain();
  });

  test('weights another active stage has are not destroyed', async () => {
    await ledger.createRun(testRun());
    const { stage } = await publish(ledger, 0, 0, 0);
    await ledger.publishStage({ ...stage, shard: 1 });
    const { erasure, deactivated } = await ledger.erase(request([keys[0] as string]));
    expect(deactivated).toMatchObject([{ stage: stage.id, shard: 0, sequences: [0], position: 0 }]);
    expect(await ledger.pendingDestruction()).toEqual([]);
    await settle(ledger, erasure);
    expect(await ledger.adapters.has(stage.weights)).toBe(true);
  });

  test('unknown and erased records are told apart, and nothing changes', async () => {
    await ledger.createRun(testRun());
    await ledger.erase(request([keys[3] as string]));
    const state = async () => [
      await ledger.counts(),
      await ledger.version(),
      await ledger.revisions(),
      await ledger.verifyChain(),
    ];
    const before = await state();
    const mixed = [keys[0] as string, digest('stranger'), keys[3] as string, keys[1] as string];
    await expect(ledger.erase(request(mixed))).rejects.toMatchObject({
      code: 'unknown-record',
      indexes: [1],
    });
    await expect(ledger.erase(request(mixed))).rejects.toThrow(UnknownRecordError);
    await expect(ledger.erase(request([keys[0] as string, keys[3] as string]))).rejects.toMatchObject({
      ...{ code: 'already-erased', indexes: [1] },
    });
    await expect(ledger.erase(request(['john']))).rejects.toMatchObject({
      code: 'unknown-record',
      indexes: [0],
    });
    await expect(ledger.erase(request([]))).rejects.toMatchObject({ code: 'invalid' });
    expect(await state()).toEqual(before);
  });

  test('one idempotency key, one erasure', async () => {
    await ledger.createRun(testRun());
    await publishAll(ledger);
    const idempotencyKey = 'once';
    const first = await ledger.erase(request([keys[4] as string], { idempotencyKey }));
    ledger = await reopen(ledger);
    ledger.useManifest(manifestOf);
    expect(await ledger.erase(request([keys[4] as string], { idempotencyKey }))).toEqual({
      ...first,
      repeated: true,
    });
    await expect(ledger.erase(request([keys[5] as string], { idempotencyKey }))).rejects.toThrow(
      IdempotencyConflictError,
    );
    const [left, right] = await Promise.all([
      ledger.erase(request([keys[6] as string], { idempotencyKey: 'twice' })),
      ledger.erase(request([keys[6] as string], { idempotencyKey: 'twice' })),
    ]);
    expect(left.erasure).toBe(right.erasure);
    expect([left.repeated, right.repeated].sort()).toEqual([false, true]);
    expect(await ledger.erasures()).toHaveLength(2);
  });

  test('a dry run says what an erasure would do and does nothing', async () => {
    await ledger.createRun(testRun());
    await publishAll(ledger);
    const counts = await ledger.counts();
    const dry = await ledger.erase(request([keys[0] as string], { dryRun: true }));
    expect(dry.dryRun).toBe(true);
    expect(await ledger.counts()).toEqual(counts);
    expect(await ledger.version()).toEqual(dry.before);
    const real = await ledger.erase(request([keys[0] as string]));
    expect({ ...real, dryRun: true }).toEqual(dry);
  });

  test('what an erasure overtook is never published', async () => {
    await ledger.createRun(testRun());
    const { bytes, ...planned } = plan(await ledger.revisions(), 0, 0, 0);
    const untouched = plan(await ledger.revisions(), 0, 1, 0);
    await ledger.adapters.put(bytes);
    await ledger.adapters.put(untouched.bytes);
    await ledger.erase(request([keys[0] as string]));
    expect(await ledger.publishStage(planned)).toEqual({ published: false, reason: 'superseded' });
    expect(await ledger.publishStage(untouched)).toMatchObject({ published: true });
    expect((await ledger.activeStages()).map(({ id }) => id)).toEqual([untouched.id]);
    expect(await ledger.revisions()).toEqual([
      [1, 0, 0],
      [0, 0, 0],
    ]);
  });

  test('erasures and publications at once leave no active stage with an erased record', async () => {
    await ledger.createRun(testRun(120));
    const many = testRecords(120);
    const work: Promise<unknown>[] = [];
    const revisions = await ledger.revisions();
    for (let position = 0; position < SLICES; position++) {
      for (const shard of [0, 1]) {
        const { bytes, ...stage } = plan(revisions, shard, 0, position);
        await ledger.adapters.put(bytes);
        work.push(ledger.publishStage(stage).catch((error) => expect(error.code).toBe('parent-missing')));
      }
      work.push(ledger.erase(request([many[position * 7]?.key as string])));
    }
    await Promise.all(work);
    const now = await ledger.revisions();
    for (const { shard, slices, publishedAt } of await ledger.activeStages()) {
      expect(publishedAt).toBeGreaterThan(0);
      expect(slices.map((slice) => now[shard]?.[slice])).toEqual(slices.map(() => 0));
    }
    await ledger.verifyChain();
  });
}
