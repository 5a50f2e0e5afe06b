import { rm } from 'node:fs/promises';
import { sha256Hex, sliceDigest } from '@s3t/algorithm';
import { openLedger } from '@s3t/ledger';
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { SliceDigests } from './slice-digests.ts';
import { giveLedger, temporaryFolder } from './testing/temporary.ts';

const [SHARDS, SLICES, RECORDS] = [2, 3, 60];

test('after any erasures the digests are those of all records read again, and only touched slices are read', async () => {
  const folder = await temporaryFolder();
  giveLedger(folder);
  await using ledger = await openLedger({ store: 'file:', folder });
  ledger.useManifest((active) => ({ digest: sha256Hex(JSON.stringify(active)), manifest: active }));
  const records = Array.from({ length: RECORDS }, (_, i) => ({
    ...{ key: sha256Hex(`key ${i}`), digest: sha256Hex(`content ${i}`) },
    ...{ shard: i % SHARDS, slice: Math.floor(i / SHARDS) % SLICES },
  }));
  await ledger.createRun({
    ...{ config: {}, setting: '{}', shards: SHARDS, slices: SLICES, sequences: [[0, 1, 2]] },
    ...{ base: sha256Hex('base'), records },
  });
  let left = records;
  // Two of each slice, for what comes after the random erasures: those may take all others.
  const spared = records.slice(-2 * SHARDS * SLICES);
  const expected = () =>
    Array.from({ length: SHARDS }, (_, shard) =>
      Array.from({ length: SLICES }, (_, slice) => {
        const here = left.filter((record) => record.shard === shard && record.slice === slice);
        return { digest: sliceDigest(here), records: here.length };
      }),
    );
  const erase = async (gone: typeof records): Promise<void> => {
    const keys = gone.map(({ key }) => key);
    await ledger.erase({ keys, requestDigest: sha256Hex('request'), receivedAt: 0 });
    left = left.filter((record) => !gone.includes(record));
  };
  const digests = new SliceDigests(ledger);
  const held = async (from = digests) =>
    (await from.read()).map((row) => row.map(({ digest, records }) => ({ digest, records })));
  expect(await held()).toEqual(expected());

  const all = vi.spyOn(ledger, 'records');
  const slice = vi.spyOn(ledger, 'sliceRecords');
  const step = fc.tuple(fc.array(fc.nat(), { minLength: 1, maxLength: 5 }), fc.boolean());
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 4 }), async (steps) => {
      for (const [picks, isMeanwhile] of steps) {
        const pool = left.filter((record) => !spared.includes(record));
        const gone = [
          ...new Set(picks.map((pick) => pool[pick % pool.length]).filter((one) => one !== undefined)),
        ];
        if (gone.length === 0) return;
        // Before a reading, or at the same time as one that then may miss it, but not the next.
        await Promise.all([erase(gone), ...(isMeanwhile ? [digests.read()] : [])]);
        slice.mockClear();
        expect(await held()).toEqual(expected());
        const touched = new Set(gone.map((record) => `${record.shard} ${record.slice}`)).size;
        if (touched < SHARDS * SLICES) expect(slice.mock.calls.length).toBeLessThanOrEqual(touched);
        expect((await digests.read()).map((row) => row.map(({ revision }) => revision))).toEqual(
          await ledger.revisions(),
        );
      }
    }),
    { numRuns: 15 },
  );
  expect(all).not.toHaveBeenCalled();

  // Another process that was told of all but the last.
  await digests.keep();
  const touched = left[0]!;
  await erase([touched]);
  slice.mockClear();
  const next = new SliceDigests(ledger);
  expect(await held(next)).toEqual(expected());
  expect(slice.mock.calls).toEqual([[touched.shard, touched.slice]]);
  expect(all).not.toHaveBeenCalled();
  // Nothing is trained by what was not read.
  slice.mockClear();
  expect(await next.read({ isToTrain: true })).toMatchObject(expected());
  expect(slice).toHaveBeenCalledTimes(SHARDS * SLICES - 1);
  slice.mockClear();
  await next.read({ isToTrain: true });
  expect(slice).not.toHaveBeenCalled();

  await next.keep();
  const kept = (await ledger.notes('slice-digests')).get('slice-digests') as { digest: string }[][];
  kept[1]![2]!.digest = sha256Hex('another');
  await ledger.note('slice-digests', kept);
  await expect(new SliceDigests(ledger).read({ isToTrain: true })).rejects.toMatchObject({
    code: 'corrupt',
    message: expect.stringContaining('shard 1, slice 2'),
  });
  for (const broken of [{}, [null], [[null]], [[{ revision: 1 }]], 'x']) {
    all.mockClear();
    await ledger.note('slice-digests', broken);
    expect(await held(new SliceDigests(ledger))).toEqual(expected());
    expect(all).toHaveBeenCalledOnce();
  }
  await rm(folder, { recursive: true });
});
