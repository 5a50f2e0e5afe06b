import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Ledger, openLedger } from './index.ts';
import { emptyRunFolder, execute } from './testing/pglite.ts';
import { digest, manifestOf, publishAll, settle, testRecords, testRun } from './testing/run.ts';

describe('a ledger that was tampered with', () => {
  let folder: string;
  let ledger: Ledger;
  beforeAll(async () => {
    folder = await emptyRunFolder();
    ledger = await openLedger({ store: 'file:', folder, manifest: manifestOf });
    await ledger.createRun(testRun());
    await publishAll(ledger);
    for (const { key } of testRecords(2)) {
      const { erasure } = await ledger.erase({ keys: [key], requestDigest: digest(key), receivedAt: 1 });
      if (key === testRecords(1)[0]?.key) await settle(ledger, erasure, { erasure }, '{"says":1}');
    }
  });
  afterAll(async () => {
    await ledger.close();
    await rm(folder, { recursive: true, force: true });
  });

  const cases: [string, string, number | null][] = [
    ['an entry changed', `update entries set payload = '{"stage":"x"}' where seq = 3`, 3],
    ['an entry dated back', 'update entries set at = at - 1 where seq = 4', 4],
    ['an entry removed', 'delete from entries where seq = 2', 2],
    ['an entry rehashed', `update entries set hash = repeat('a', 64) where seq = 5`, 5],
    ['the end of the log cut off', 'delete from entries where seq = (select max(seq) from entries)', null],
    ['an erasure removed', `delete from erasures where state = 'in_progress'`, null],
    ['a statement rewritten', `update erasures set statement = '{}' where statement is not null`, null],
    ['a statement removed', 'update erasures set statement = null', null],
    [
      'an erasure that names another entry',
      'update erasures set acknowledged_seq = 1 where statement is not null',
      null,
    ],
    ['an erasure completed by hand', `update erasures set state = 'completed'`, null],
    ['a commitment removed', 'delete from erased where erasure = (select id from erasures limit 1)', null],
    ['a stage brought back', `update stages set state = 'active' where state = 'deactivated'`, null],
    [
      'a stage given other weights',
      `update stages set weights = repeat('b', 64) where state = 'active'`,
      null,
    ],
    [
      'a version rolled back',
      'delete from versions where version = (select max(version) from versions)',
      null,
    ],
    ['an erased record put back', `insert into records values ('\\x00', '\\x00', 0, 0)`, null],
    ['a slice counted wrong', 'update slices set records = records + 1 where shard = 0 and slice = 0', null],
  ];
  test.each(cases)('%s', async (_, tamper, seq) => {
    await ledger.verifyChain();
    await execute(ledger, 'begin');
    try {
      await execute(ledger, tamper);
      await expect(ledger.verifyChain()).rejects.toMatchObject({ code: 'ledger-corrupt', seq });
    } finally {
      await execute(ledger, 'rollback');
    }
  });

  test('is not opened, and gives its lock back', async () => {
    await execute(ledger, `update entries set payload = '{}' where seq = 1`);
    await ledger.close();
    for (let attempt = 0; attempt < 2; attempt++) {
      await expect(openLedger({ store: 'file:', folder })).rejects.toMatchObject({
        ...{ code: 'ledger-corrupt', seq: 1, message: 'ledger entry 1 was changed after it was written' },
      });
    }
  });

  test('database files that are broken are one clear line', async () => {
    await rm(join(folder, 'ledger', 'global', 'pg_control'));
    await expect(openLedger({ store: 'file:', folder })).rejects.toMatchObject({
      ...{ code: 'open', message: expect.stringMatching(/^cannot open the ledger in .*ledger: [^\n]+$/) },
    });
  });
});
