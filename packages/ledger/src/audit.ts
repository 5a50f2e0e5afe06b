// Replays the log and holds the tables against it. The log alone could be cut short, or a table edited beside it; together
// they have to tell the same story.
import { asc, desc, eq, sql, sum } from 'drizzle-orm';
import { follow, readEntries, start } from './chain.ts';
import type { Db } from './database.ts';
import { LedgerCorruptError } from './errors.ts';
import { erased, erasures, records, slices, stages, versions } from './schema.ts';
import type { Entry } from './types.ts';

/** What the entries say, as far as the tables repeat it. */
interface Story {
  erasures: Map<string, Told>;
  commitments: Map<string, string>;
  /** `<shard> <stage>` -> weights. */
  active: Map<string, string>;
  version: { version: number; manifest: string } | null;
  /** Records that should remain; null before there is a run. */
  records: number | null;
}

interface Told {
  state: 'in_progress' | 'completed';
  acknowledgedSeq: number | null;
  /** Digest of the statement. */
  statement: string | null;
  repairedSeq: number | null;
}

type Payload = Record<string, unknown>;

/** Checks the chain and the tables against it; returns the number of entries. Throws LedgerCorruptError. */
export async function audit(db: Db): Promise<number> {
  const story: Story = {
    erasures: new Map(),
    commitments: new Map(),
    active: new Map(),
    version: null,
    records: null,
  };
  let last = start;
  for await (const entry of readEntries(db)) {
    last = follow(last, entry);
    tell(story, entry);
  }
  await compareErasures(db, story);
  await compareStages(db, story);
  await compareRecords(db, story);
  const [latest] = await db.select().from(versions).orderBy(desc(versions.version)).limit(1);
  if (latest?.version !== story.version?.version || latest?.digest !== story.version?.manifest) {
    throw new LedgerCorruptError(
      `the log ends at version ${story.version?.version ?? 'none'}, the ledger at ${latest?.version ?? 'none'}`,
    );
  }
  return last.seq + 1;
}

function tell(story: Story, { seq, kind, payload: told }: Entry): void {
  const payload = told as Payload;
  if ('version' in payload) {
    story.version = { version: payload.version as number, manifest: payload.manifest as string };
  }
  if (kind === 'create') {
    story.records = payload.records as number;
  } else if (kind === 'publish') {
    story.active.set(`${payload.shard} ${payload.stage}`, payload.weights as string);
  } else if (kind === 'erase') {
    const erasure = payload.erasure as string;
    story.erasures.set(erasure, {
      ...{ state: 'in_progress', acknowledgedSeq: null, statement: null, repairedSeq: null },
    });
    for (const commitment of payload.commitments as string[]) story.commitments.set(commitment, erasure);
    if (story.records !== null) story.records -= (payload.commitments as string[]).length;
    for (const { shard, stage } of payload.deactivated as { shard: number; stage: string }[]) {
      story.active.delete(`${shard} ${stage}`);
    }
  } else if (kind === 'acknowledge') {
    const statement = (payload.statement as string | undefined) ?? null;
    story.erasures.set(payload.erasure as string, {
      ...{ state: 'completed', acknowledgedSeq: seq, statement, repairedSeq: null },
    });
  } else if (kind === 'repair') {
    const repaired = story.erasures.get(payload.erasure as string);
    if (repaired?.state !== 'completed' || repaired.repairedSeq !== null)
      throw new LedgerCorruptError(`ledger entry ${seq} repairs what the log did not complete`, seq);
    repaired.repairedSeq = seq;
  }
}

async function compareErasures(db: Db, story: Story): Promise<void> {
  // The database hashes the statements: there may be many, and only their digests are wanted.
  const statement = sql<string | null>`encode(sha256(convert_to(${erasures.statement}, 'UTF8')), 'hex')`;
  const rows = await db
    .select({
      ...{ id: erasures.id, state: erasures.state, repairedSeq: erasures.repairedSeq, statement },
      acknowledgedSeq: erasures.acknowledgedSeq,
    })
    .from(erasures)
    .orderBy(asc(erasures.seq));
  for (const { id, state, ...row } of rows) {
    const told = story.erasures.get(id);
    if (told?.state !== state)
      throw new LedgerCorruptError(`erasure ${id} is ${state}, which the log does not say`);
    if (told.repairedSeq !== row.repairedSeq)
      throw new LedgerCorruptError(`the log does not say when erasure ${id} was repaired`);
    if (told.statement !== row.statement)
      throw new LedgerCorruptError(`the statement of erasure ${id} is not the one in the log`);
    // Erasures from before there were statements do not know their entry.
    if (row.statement !== null && told.acknowledgedSeq !== row.acknowledgedSeq)
      throw new LedgerCorruptError(`erasure ${id} names another entry of the log than its own`);
    story.erasures.delete(id);
  }
  for (const id of story.erasures.keys())
    throw new LedgerCorruptError(`erasure ${id} is in the log, but its row is gone`);
  const gone = await db.select().from(erased);
  const wrong = gone.some(({ commitment, erasure }) => story.commitments.get(commitment) !== erasure);
  if (wrong || gone.length !== story.commitments.size) {
    throw new LedgerCorruptError(
      `the ledger holds ${gone.length} erased records, the log ${story.commitments.size}`,
    );
  }
}

async function compareStages(db: Db, story: Story): Promise<void> {
  const rows = await db
    .select({ id: stages.id, shard: stages.shard, weights: stages.weights })
    .from(stages)
    .where(eq(stages.state, 'active'));
  for (const { id, shard, weights } of rows) {
    const logged = story.active.get(`${shard} ${id}`);
    if (logged !== weights)
      throw new LedgerCorruptError(`stage ${id} of shard ${shard} is active, which the log does not say`);
  }
  if (rows.length !== story.active.size) {
    throw new LedgerCorruptError(`${rows.length} stages are active, the log says ${story.active.size}`);
  }
}

async function compareRecords(db: Db, story: Story): Promise<void> {
  const counted = await db.$count(records);
  const [kept] = await db.select({ sum: sum(slices.records).mapWith(Number) }).from(slices);
  for (const found of [counted, kept?.sum ?? 0]) {
    if (found !== (story.records ?? 0)) {
      throw new LedgerCorruptError(
        `the ledger holds ${found} records, the log says ${story.records ?? 0} remain`,
      );
    }
  }
}
