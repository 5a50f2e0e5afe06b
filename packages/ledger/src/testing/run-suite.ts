import { afterEach, beforeEach, expect, test } from 'vitest';
import { DeterminismError, type Ledger, LedgerError, type StoredRecord } from '../index.ts';
import { all, digest, manifestOf, publish, request, testRecords, testRun } from './run.ts';
import type { Stand } from './stand.ts';

/** What any database must keep of a run and its stages. */
export function runSuite({ fresh, reopen, done }: Stand): void {
  let ledger: Ledger;
  const keys = testRecords(12).map(({ key }) => key);

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

  test('notes are kept by name across a reopening, until they are taken away', async () => {
    await ledger.note('a/1', { tries: 1 });
    await ledger.note('a/1', { tries: 2 });
    await ledger.note('a/2', true);
    await ledger.note('a%', 'another');
    ledger = await reopen(ledger);
    expect([...(await ledger.notes('a/'))]).toEqual([
      ['a/1', { tries: 2 }],
      ['a/2', true],
    ]);
    expect([...(await ledger.notes('a%'))]).toEqual([['a%', 'another']]);
    await ledger.note('a/1', null);
    await ledger.note('a/1', null);
    expect([...(await ledger.notes('a/')).keys()]).toEqual(['a/2']);
    expect(await ledger.verifyChain()).toBe(0);
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
}
