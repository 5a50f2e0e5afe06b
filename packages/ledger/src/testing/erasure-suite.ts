import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  AlreadyErasedError,
  IdempotencyConflictError,
  type Ledger,
  UnknownRecordError,
  UnknownSubjectError,
} from '../index.ts';
import { execute } from './pglite.ts';
import {
  all,
  digest,
  manifestOf,
  plan,
  publish,
  publishAll,
  request,
  SLICES,
  settle,
  testRecords,
  testRun,
} from './run.ts';
import type { Stand } from './stand.ts';

/** What an erasure must do on any database. */
export function erasureSuite({ fresh, reopen, done }: Stand): void {
  let ledger: Ledger;
  const keys = testRecords(12).map(({ key }) => key);

  beforeEach(async () => {
    ledger = await fresh();
    ledger.useManifest(manifestOf);
  });
  afterEach(async () => {
    await done(ledger);
  });

  test('a rehearsal changes nothing, and takes up no more room the second time', async () => {
    await ledger.createRun({ ...testRun(), records: testRecords(12) });
    await publishAll(ledger);
    const standing = async () => [
      await ledger.version(),
      await ledger.erasures(),
      await ledger.activeStages(),
    ];
    const size = async () => {
      const tables =
        "relkind in ('r', 't') and relnamespace in ('public'::regnamespace, 'pg_toast'::regnamespace)";
      const [row] = await execute(
        ledger,
        `select sum(pg_relation_size(oid))::int as bytes from pg_class where ${tables}`,
      );
      return row!.bytes;
    };
    const before = await standing();
    await ledger.rehearse(keys[0] as string, 8);
    const taken = await size();
    await ledger.rehearse(keys[0] as string, 8);
    expect(await size()).toBe(taken);
    expect(await standing()).toEqual(before);
    await ledger.verifyChain();
  });

  test('an erasure takes all records of a subject, whom nobody can name without the salt', async () => {
    // Records 0 and 1 are about nobody, the others about four people in turn.
    const person = (index: number): string => digest(`person ${index % 4}`);
    const records = testRecords(12).map((record, index) =>
      index < 2 ? record : { ...record, subject: person(index) },
    );
    await ledger.createRun({ ...testRun(), records });
    await publishAll(ledger);
    const stored = await execute(ledger, `select encode(subject, 'hex') as subject from records`);
    const subjects = new Set(stored.map(({ subject }) => subject));
    expect([subjects.size, subjects.has(null), subjects.has(person(3))]).toEqual([5, true, false]);
    expect(subjects).toContain(await ledger.subjectHash(person(3)));

    const about = (of: string[], more: object = {}) => ({
      ...request([]),
      subjects: of,
      requestDigest: digest(of.join()),
      ...more,
    });
    const planned = await ledger.erase(about([person(3)], { dryRun: true }));
    const erased = await ledger.erase(
      about([person(3)], { keys: [keys[3] as string, keys[0] as string], idempotencyKey: 'a' }),
    );
    expect([planned.records, erased.records]).toEqual([3, 4]);
    const gone = [0, 3, 7, 11].map((index) => {
      const { key, shard, slice } = records[index]!;
      return { key, shard, slice };
    });
    expect([...erased.gone].sort((a, b) => (a.key < b.key ? -1 : 1))).toEqual(
      gone.sort((a, b) => (a.key < b.key ? -1 : 1)),
    );
    // What is kept for a repeated request does not say who went.
    const again = await ledger.erase(about([person(3)], { keys: [keys[3], keys[0]], idempotencyKey: 'a' }));
    expect(again).toEqual({ ...erased, repeated: true, gone: [], active: null });
    const [kept] = await ledger.erasures();
    for (const { key } of gone) expect(JSON.stringify(kept)).not.toContain(key);
    await expect(ledger.erase(about([person(2), person(3), digest('stranger')]))).rejects.toEqual(
      new UnknownSubjectError([1, 2], 3),
    );
    expect((await ledger.counts()).erased).toBe(4);
    await ledger.verifyChain();
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
      gone: [],
      active: null,
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
