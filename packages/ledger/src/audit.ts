// Replays the log and holds the tables against it. The log alone could be cut short, or a table edited beside it; together
// they have to tell the same story.
import { type CanonicalValue, canonicalJson, digestOf, sha256Hex } from '@s3t/algorithm';
import { asc, getTableColumns, gt, sql } from 'drizzle-orm';
import { asStored, follow, readEntries, start } from './chain.ts';
import type { Db } from './database.ts';
import { LedgerCorruptError } from './errors.ts';
import { erased, erasures, records, run, slices, stages, versions } from './schema.ts';
import { Story, type Told } from './story.ts';

/** Receipts hold every stage that an erasure cost: rows are read so many at a time. */
const PAGE = 500;

/**
 * Checks the chain and the tables against it; returns the number of entries. Throws LedgerCorruptError.
 *
 * The log does not tell, so that nothing here sees a change of: the run's configuration as it was written (what stages depend on, its
 * `setting`, is told), its salt, idempotency keys, the revisions of slices, and a record's digest, which its data is checked against.
 */
export async function audit(db: Db): Promise<number> {
  const story = new Story();
  let last = start;
  for await (const entry of readEntries(db)) {
    last = follow(last, entry);
    story.tell(entry);
  }
  await compareRun(db, story);
  await compareErasures(db, story);
  await compareStages(db, story);
  await compareVersions(db, story);
  await compareRecords(db, story);
  return last.seq + 1;
}

async function compareRun(db: Db, story: Story): Promise<void> {
  const rows = await db.select().from(run);
  if (rows.length !== (story.run === null ? 0 : 1))
    throw new LedgerCorruptError(`the ledger holds ${rows.length} runs, which the log does not say`);
  const [row] = rows;
  if (row === undefined || story.run === null) return;
  compare('the run', row, story.run);
  if (sha256Hex(row.setting) !== row.settingDigest)
    throw new LedgerCorruptError('the setting of the run is not the one in the log');
}

async function compareErasures(db: Db, story: Story): Promise<void> {
  // The database hashes the statements: there may be many, and only their digests are wanted.
  const statement = sql<string | null>`encode(sha256(convert_to(${erasures.statement}, 'UTF8')), 'hex')`;
  const columns = { ...getTableColumns(erasures), statement };
  const left = new Map(story.erasures);
  let page: { seq: number }[] = [];
  do {
    const after = page.at(-1)?.seq ?? -1;
    const rows = await db
      .select(columns)
      .from(erasures)
      .where(gt(erasures.seq, after))
      .orderBy(asc(erasures.seq))
      .limit(PAGE);
    for (const { receipt, ...row } of rows) {
      const digest = receipt === null ? null : digestOf(receipt as CanonicalValue);
      compare(`erasure ${row.id}`, { ...row, receipt: digest }, left.get(row.id));
      left.delete(row.id);
    }
    page = rows;
  } while (page.length === PAGE);
  for (const id of left.keys())
    throw new LedgerCorruptError(`erasure ${id} is in the log, but its row is gone`);
  const gone = await db.select().from(erased);
  const wrong = gone.some(({ commitment, erasure }) => story.erased.get(commitment) !== erasure);
  if (wrong || gone.length !== story.erased.size)
    throw new LedgerCorruptError(
      `the ledger holds ${gone.length} erased records, the log ${story.erased.size}`,
    );
}

async function compareStages(db: Db, story: Story): Promise<void> {
  const rows = await db.select().from(stages);
  for (const row of rows)
    compare(`stage ${row.id} of shard ${row.shard}`, row, story.stages.get(`${row.shard} ${row.id}`));
  if (rows.length !== story.stages.size)
    throw new LedgerCorruptError(`the ledger holds ${rows.length} stages, the log ${story.stages.size}`);
}

async function compareVersions(db: Db, story: Story): Promise<void> {
  const { manifest: _, ...columns } = getTableColumns(versions);
  const rows = await db.select(columns).from(versions);
  for (const row of rows) compare(`version ${row.version}`, row, story.versions.get(row.version));
  if (rows.length !== story.versions.size)
    throw new LedgerCorruptError(`the ledger holds ${rows.length} versions, the log ${story.versions.size}`);
}

/** How many records remain is told; where they lie, the tables have to agree on. */
async function compareRecords(db: Db, story: Story): Promise<void> {
  const count = sql<number>`count(*)::int`;
  const counted = await db
    .select({ shard: records.shard, slice: records.slice, count })
    .from(records)
    .groupBy(records.shard, records.slice);
  const found = new Map(counted.map(({ shard, slice, count }) => [`${shard} ${slice}`, count]));
  for (const { shard, slice, records: kept } of await db.select().from(slices)) {
    const there = found.get(`${shard} ${slice}`) ?? 0;
    if (there !== kept)
      throw new LedgerCorruptError(
        `shard ${shard}, slice ${slice} holds ${there} records and counts ${kept}`,
      );
    found.delete(`${shard} ${slice}`);
  }
  const total = counted.reduce((sum, { count }) => sum + count, 0);
  if (total !== story.records || found.size > 0)
    throw new LedgerCorruptError(`the ledger holds ${total} records, the log says ${story.records} remain`);
}

/** @throws LedgerCorruptError that names the first column in which a row is not what the log tells of it */
function compare(what: string, row: Told, told: Told | undefined): void {
  if (told === undefined)
    throw new LedgerCorruptError(`${what} is in the ledger, which the log does not say`);
  for (const [column, value] of Object.entries(told)) {
    if (canonicalJson(asStored(row[column])) !== canonicalJson(asStored(value)))
      throw new LedgerCorruptError(`${what}: its ${column} is not what the log says`);
  }
}
