import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Ledger } from '../index.ts';
import {
  entryBytes,
  leafHash,
  MerkleTree,
  repairedStatement,
  statementText,
  verifyConsistency,
  verifyInclusion,
} from '../log/index.ts';
import { execute } from './pglite.ts';
import { all, digest, manifestOf, publishAll, request, settle, testRecords, testRun } from './run.ts';
import type { Stand } from './stand.ts';

/** What the Merkle tree over the log must give on any database. */
export function logSuite({ fresh, reopen, done }: Stand): void {
  let ledger: Ledger;
  const keys = testRecords(12).map(({ key }) => key);

  beforeEach(async () => {
    ledger = await fresh();
    ledger.useManifest(manifestOf);
  });
  afterEach(async () => {
    await done(ledger);
  });

  test('the tree follows the log, and proves each entry as of its own moment', async () => {
    // A tree lives as long as its ledger is open: that of a test before has gone.
    ledger = await reopen(ledger);
    ledger.useManifest(manifestOf);
    expect(await ledger.log.head()).toMatchObject({ size: 0, root: digest('') });
    await ledger.createRun(testRun());
    const early = await ledger.log.head();
    expect(early.size).toBe(1);
    await publishAll(ledger);
    const { erasure } = await ledger.erase(request([keys[0] as string]));
    await settle(ledger, erasure);
    const written = await all(ledger.entries());
    const tree = new MerkleTree();
    for (const entry of written) tree.append(leafHash(entryBytes(entry)));
    const [now, same] = await Promise.all([ledger.log.head(), ledger.log.head()]);
    expect(now).toEqual({ size: written.length, root: tree.root() });
    expect(same).toEqual(now);
    for (const { seq, hash: _, ...rest } of written) {
      const { entry, hashes, ...place } = await ledger.log.proveEntry(seq);
      expect(entry).toEqual({ seq, ...rest });
      expect(place).toEqual({ index: seq, size: seq + 1 });
      const { root } = await ledger.log.head(seq + 1);
      const leaf = leafHash(entryBytes(entry));
      expect(verifyInclusion({ leaf, ...place, root }, hashes)).toBe(true);
    }
    const { hashes, to } = await ledger.log.proveConsistency(early.size);
    const growth = { from: early.size, oldRoot: early.root, to, newRoot: now.root };
    expect(verifyConsistency(growth, hashes)).toBe(true);
    await expect(ledger.log.head(written.length + 1)).rejects.toMatchObject({ code: 'log-size' });
    await expect(ledger.log.proveConsistency(0)).rejects.toMatchObject({ code: 'log-size' });
    await expect(ledger.log.proveEntry(written.length)).rejects.toMatchObject({ code: 'no-entry' });
    // A ledger from before there were receipts and subjects: opening it gives its erasures what they lack, and the log stays.
    await execute(
      ledger,
      'alter table erasures drop column statement, drop column acknowledged_seq, drop column repaired_at, drop column repaired_seq',
    );
    await execute(ledger, 'alter table records drop column subject');
    await execute(ledger, 'drop table notes');
    await forgetMigrations(ledger, 4);
    ledger = await reopen(ledger);
    expect(await ledger.log.head()).toEqual(now);
    expect(await ledger.erasure(erasure)).toMatchObject({
      ...{ state: 'completed', receipt: { erasure }, statement: null, acknowledgedSeq: null },
    });
  });

  test('an acknowledgement binds its statement; the row leads to the entry', async () => {
    await ledger.createRun(testRun());
    const { erasure } = await ledger.erase(request([keys[0] as string]));
    expect(await ledger.erasure(erasure)).toMatchObject({ acknowledgedSeq: null, statement: null });
    const done = { acknowledgedAt: 3000, destroyedAt: 2900, receipt: { erasure }, statement: '{"ü":1}' };
    await ledger.acknowledge(erasure, done);
    const row = await ledger.erasure(erasure);
    expect(row).toMatchObject({ statement: '{"ü":1}' });
    expect((await all(ledger.entries()))[row?.acknowledgedSeq as number]).toMatchObject({
      ...{ kind: 'acknowledge', at: 3000, payload: { erasure, statement: digest('{"ü":1}') } },
    });
    await ledger.verifyChain();
  });

  test('a repair is written once, bound to the statement it completes; only of completed erasures', async () => {
    await ledger.createRun(testRun());
    const [done, open] = [
      await ledger.erase(request([keys[0] as string])),
      await ledger.erase(request([keys[1] as string])),
    ];
    const acknowledged = statementText({ predicate: { times: {} } } as never);
    await settle(ledger, done.erasure, {}, acknowledged);
    expect(await ledger.unrepaired()).toEqual([done.erasure]);
    expect(await ledger.awaitingRepair()).toEqual({ records: 1, since: 2000 });
    const moment = { at: 5000, served: await ledger.version() };
    await ledger.repaired([done.erasure, open.erasure], moment);
    await ledger.repaired([done.erasure], { ...moment, at: 6000 });
    expect(await ledger.unrepaired()).toEqual([]);
    expect(await ledger.awaitingRepair()).toEqual({ records: 0, since: null });
    expect(await ledger.erasure(open.erasure)).toMatchObject({ repairedAt: null, repairedSeq: null });
    const row = (await ledger.erasure(done.erasure))!;
    const written = await all(ledger.entries());
    expect(written.filter(({ kind }) => kind === 'repair')).toEqual([
      expect.objectContaining({
        ...{ seq: row.repairedSeq, at: row.repairedAt },
        payload: {
          ...{ erasure: done.erasure, served: moment.served, acknowledged: row.acknowledgedSeq },
          statement: digest(repairedStatement(acknowledged, moment)),
        },
      }),
    ]);
    await ledger.verifyChain();
    await execute(ledger, 'update erasures set repaired_seq = null, repaired_at = null');
    await expect(ledger.verifyChain()).rejects.toThrow('repaired');
  });
}

/** As if the newest migrations had not been made. */
async function forgetMigrations(ledger: Ledger, newest: number): Promise<void> {
  const table = (await isInDrizzleSchema(ledger)) ? 'drizzle.__drizzle_migrations' : '__drizzle_migrations';
  await execute(ledger, `delete from ${table} where id > (select max(id) from ${table}) - ${newest}`);
}

async function isInDrizzleSchema(ledger: Ledger): Promise<boolean> {
  return execute(ledger, 'select 1 from drizzle.__drizzle_migrations').then(
    () => true,
    () => false,
  );
}
