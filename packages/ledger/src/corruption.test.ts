import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Ledger, openLedger } from './index.ts';
import { emptyRunFolder, execute } from './testing/pglite.ts';
import { digest, manifestOf, publishAll, settle, testRecords, testRun } from './testing/run.ts';

/** The tables and their columns, by what a change of one looks like, of which the log tells. */
const TOLD: Record<string, { key: string; columns: readonly string[] }> = {
  run: {
    key: 'id',
    columns: [
      'id text',
      'setting text',
      'setting_digest text',
      'shards integer',
      'slices integer',
      'sequences json',
      'base text',
      'created_at bigint',
    ],
  },
  records: { key: 'key', columns: ['shard integer', 'slice integer'] },
  slices: { key: '(shard, slice)::text', columns: ['shard integer', 'slice integer', 'records integer'] },
  erased: { key: 'commitment', columns: ['commitment bytea', 'erasure text'] },
  stages: {
    key: '(shard, id)::text',
    columns: [
      'id text',
      'shard integer',
      'position integer',
      'slices integer[]',
      'sequences integer[]',
      'parent text',
      'lineage json',
      'weights text',
      'records integer',
      'state text',
      'erasure text',
      'published_at bigint',
      'deactivated_at bigint',
      'destroyed_at bigint',
    ],
  },
  versions: { key: 'version', columns: ['version integer', 'digest text', 'reason text', 'at bigint'] },
  erasures: {
    key: 'id',
    columns: [
      'id text',
      'seq integer',
      'request_digest text',
      'records integer',
      'state text',
      'received_at bigint',
      'committed_at bigint',
      'acknowledged_at bigint',
      'destroyed_at bigint',
      'result json',
      'receipt json',
      'acknowledged_seq integer',
      'statement text',
      'repaired_at bigint',
      'repaired_seq integer',
    ],
  },
  entries: {
    key: 'seq',
    columns: ['seq integer', 'kind text', 'at bigint', 'payload json', 'previous text', 'hash text'],
  },
};

/** Another value than the one a column has, whatever that is. */
function changed(column: string, by: number): string {
  const [name, type] = column.split(' ') as [string, string];
  const other: Record<string, string> = {
    integer: `coalesce(${name}, 0) + ${by}`,
    bigint: `coalesce(${name}, 0) + ${by}`,
    text: `coalesce(${name}, '') || '${by}'`,
    json: `json_build_object('was', ${name}, 'by', ${by})`,
    bytea: `sha256(${name} || '\\x${(by % 256).toString(16).padStart(2, '0')}')`,
    'integer[]': `${name} || ${by}`,
  };
  return `${name} = ${other[type]}`;
}

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
    ['a run with another setting', `update run set setting = '{}'`, null],
    [
      'what was destroyed called deactivated',
      `update stages set state = 'deactivated' where state = 'destroyed'`,
      null,
    ],
    [
      'what is still to be destroyed called destroyed',
      `update stages set state = 'destroyed' where state = 'deactivated'`,
      null,
    ],
    ['a stage of other slices', `update stages set slices = '{2,1,0}' where position = 2`, null],
    ['a receipt rewritten', `update erasures set receipt = '{}' where receipt is not null`, null],
    ['a record moved to another slice', 'update records set slice = 2 where slice = 1', null],
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

  test('a thousand corrupted or truncated ones', async () => {
    const tables = await Promise.all(
      Object.entries(TOLD).map(async ([table, { key, columns }]) => {
        const rows = await execute(
          ledger,
          `select ctid::text as at, ${key} as name from ${table} order by ${key}`,
        );
        return { table, columns, places: rows.map(({ at }) => at as string) };
      }),
    );
    const corruption = fc.constantFrom(...tables).chain(({ table, columns, places }) =>
      fc
        .record({
          at: fc.constantFrom(...places),
          column: fc.constantFrom(null, ...columns),
          by: fc.integer({ min: 1000, max: 1_000_000 }),
        })
        .map(({ at, column, by }) => {
          const change =
            column === null ? `delete from ${table}` : `update ${table} set ${changed(column, by)}`;
          return `${change} where ctid = '${at}'`;
        }),
    );
    const truncation = fc.integer({ min: 0, max: 8 }).map((seq) => `delete from entries where seq >= ${seq}`);
    await execute(ledger, 'begin');
    const checked = fc.assert(
      fc.asyncProperty(fc.oneof({ weight: 20, arbitrary: corruption }, truncation), async (tamper) => {
        await execute(ledger, 'savepoint whole');
        try {
          await execute(ledger, tamper);
          await expect(ledger.verifyChain()).rejects.toMatchObject({ code: 'ledger-corrupt' });
        } finally {
          await execute(ledger, 'rollback to whole');
        }
      }),
      { numRuns: 1000, seed: 1 },
    );
    await checked.finally(() => execute(ledger, 'rollback'));
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
