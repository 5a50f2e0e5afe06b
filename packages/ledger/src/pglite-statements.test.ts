import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PGlite } from '@electric-sql/pglite';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { openLedger } from './open.ts';
import { PgliteStatements } from './pglite-statements.ts';
import { emptyRunFolder, execute } from './testing/pglite.ts';

let folder: string;
let client: PGlite;
let statements: PgliteStatements;

beforeAll(async () => {
  folder = await emptyRunFolder();
  client = await PGlite.create(join(folder, 'ledger'));
  statements = new PgliteStatements(client);
});
afterAll(async () => {
  await client.close();
  await rm(folder, { recursive: true, force: true });
});
afterEach(() => vi.restoreAllMocks());

test('answers as PGlite does, whatever the types, the first time and later', async () => {
  const text =
    'select $1::text as a, $2::bigint as b, $3::int[] as c, $4::bytea as d, $5::jsonb as e, $6::bool as f, $7::text as g';
  const params = ['x"\'\\', 2 ** 40, [1, 2, 3], new Uint8Array([0, 255]), { deep: [1, null] }, true, null];
  for (const rowMode of ['array', 'object'] as const) {
    const expected = await client.query(text, params, { rowMode });
    for (let time = 0; time < 2; time++)
      expect(await statements.query(text, params, { rowMode })).toEqual(expected);
  }
  const parsers = { 20: (value: string) => `bigint ${value}` };
  const expected = await client.query(text, params, { parsers });
  expect(expected.rows).toMatchObject([{ b: `bigint ${2 ** 40}`, c: [1, 2, 3] }]);
  expect(await statements.query(text, params, { parsers })).toEqual(expected);
});

test('asks in one message what was asked before', async () => {
  const sent = vi.spyOn(client, 'execProtocolStream');
  const times = async () => {
    sent.mockClear();
    const { rows } = await statements.query<{ sum: number }>('select $1::int + 1 as sum', [41]);
    expect(rows).toEqual([{ sum: 42 }]);
    return sent.mock.calls.length;
  };
  expect([await times(), await times(), await times()]).toEqual([2, 1, 1]);
});

test('forgets what it prepared before it holds too much of it', async () => {
  for (let length = 1; length <= 600; length++) {
    const list = Array.from({ length }, (_, i) => `$${i + 1}::int`);
    const { rows } = await statements.query<number[]>(
      `select (array[${list.join()}])[${length}]`,
      list.map((_, i) => i),
      {
        rowMode: 'array',
      },
    );
    expect(rows).toEqual([[length - 1]]);
  }
  const held = await client.query<{ count: number }>(
    'select count(*)::int as count from pg_prepared_statements',
  );
  expect(held.rows[0]!.count).toBeLessThan(300);
});

test('an error leaves nothing behind, in a transaction or out of one', async () => {
  const text = 'select 1 / $1::int as one';
  await expect(statements.query('select nothing')).rejects.toMatchObject({ code: '42703' });
  for (let time = 0; time < 2; time++) {
    await expect(statements.query(text, [0])).rejects.toMatchObject({ code: '22012', severity: 'ERROR' });
    expect((await statements.query(text, [1])).rows).toEqual([{ one: 1 }]);
  }
  await client.exec('begin; create temporary table kept (x int)');
  await statements.query('insert into kept values ($1)', [7]);
  await expect(statements.query(text, [0])).rejects.toMatchObject({ code: '22012' });
  // Prepared in a transaction that failed already.
  await expect(statements.query('select 2 as two')).rejects.toMatchObject({ code: '25P02' });
  await client.exec('rollback');
  expect((await statements.query('select 2 as two')).rows).toEqual([{ two: 2 }]);
  expect((await statements.query(text, [1])).rows).toEqual([{ one: 1 }]);
});

test('a ledger has what it prepared planned for the values of each call', async () => {
  const run = await emptyRunFolder();
  try {
    await using ledger = await openLedger({ store: 'file:', folder: run });
    for (let time = 0; time < 20; time++) await ledger.note('kept', time);
    const plans = 'sum(generic_plans)::int as generic, max(custom_plans)::int as custom';
    const [row] = await execute(
      ledger,
      `select ${plans} from pg_prepared_statements where cardinality(parameter_types) > 0`,
    );
    expect(row).toEqual({ generic: 0, custom: 20 });
  } finally {
    await rm(run, { recursive: true, force: true });
  }
});
