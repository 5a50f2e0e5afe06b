import { and, asc, desc, eq, gt } from 'drizzle-orm';
import { unreferenced } from './acknowledge.ts';
import { audit } from './audit.ts';
import { readEntries } from './chain.ts';
import { commitmentOf, subjectHashOf } from './commitment.ts';
import { type Database, guarded } from './database.ts';
import { LedgerError } from './errors.ts';
import { MerkleLog } from './merkle-log.ts';
import { readNotes } from './notes.ts';
import { readRecords } from './read-records.ts';
import { awaitingRepair, unrepaired } from './repaired.ts';
import { erased, erasures, records, run, slices, versions } from './schema.ts';
import type * as types from './types.ts';
import { latestVersion, readStages } from './versions.ts';

const PAGE = 20_000;

/** The half of a `Ledger` that only reads. */
export class LedgerReader {
  protected readonly database: Database;
  /** The Merkle tree over the log. */
  readonly log: MerkleLog;
  #salt: string | undefined;

  protected constructor(database: Database) {
    this.database = database;
    this.log = new MerkleLog(database);
  }

  /** The run this ledger is of, null before `createRun`. */
  async run(): Promise<types.RunRow | null> {
    return guarded(async () => {
      const [row] = await this.database.db.select().from(run);
      if (row === undefined) return null;
      const { salt, one: _, ...rest } = row;
      this.#salt = salt;
      return rest;
    });
  }

  /** Every record that remains, in order of key. Each page is read on its own: an erasure meanwhile may or may not show. */
  async *records(): AsyncGenerator<types.StoredRecord> {
    let after: string | undefined;
    for (;;) {
      const where = after === undefined ? undefined : gt(records.key, after);
      const page = await guarded(() => readRecords(this.database.db, where, PAGE));
      yield* page;
      after = page[page.length - 1]?.key;
      if (page.length < PAGE) return;
    }
  }

  /** The records of one slice, in order of key. Read `revisions` first when a stage is to be trained on them. */
  async sliceRecords(shard: number, slice: number): Promise<types.StoredRecord[]> {
    const where = and(eq(records.shard, shard), eq(records.slice, slice));
    return guarded(() => readRecords(this.database.db, where));
  }

  /** `[shard][slice]`: how many erasures have touched the slice. What `publishStage` wants as guard. */
  async revisions(): Promise<number[][]> {
    return this.#bySlice('revision');
  }

  /** How many records remain and how many are gone. */
  async counts(): Promise<types.Counts> {
    const [bySlice, gone] = await Promise.all([
      this.#bySlice('records'),
      guarded(() => this.database.db.$count(erased)),
    ]);
    const remaining = bySlice.flat().reduce((sum, count) => sum + count, 0);
    return { records: remaining, erased: gone, slices: bySlice };
  }

  /** What stands for the record with this key once it is erased: HMAC-SHA-256 under the run's secret salt. */
  async commitment(key: string): Promise<string> {
    return commitmentOf(await this.#saltOf(), key);
  }

  /** What the ledger knows the subject with this key by: HMAC-SHA-256 under the run's secret salt. */
  async subjectHash(key: string): Promise<string> {
    return subjectHashOf(await this.#saltOf(), key);
  }

  async isErased(key: string): Promise<boolean> {
    const commitment = await this.commitment(key);
    return guarded(
      async () => (await this.database.db.$count(erased, eq(erased.commitment, commitment))) > 0,
    );
  }

  /** Commitments of all erased records. */
  async erasedCommitments(): Promise<Set<string>> {
    return guarded(
      async () => new Set((await this.database.db.select().from(erased)).map((row) => row.commitment)),
    );
  }

  /** A synchronous `isErased` over what is erased now, for reading whole data sets. */
  async erasedFilter(): Promise<(key: string) => boolean> {
    const [gone, salt] = [await this.erasedCommitments(), await this.#saltOf()];
    return gone.size === 0 ? () => false : (key) => gone.has(commitmentOf(salt, key));
  }

  /** Weights of deactivated stages that must still be destroyed, for one erasure or all: what a crash may have left undone. */
  async pendingDestruction(erasure?: string): Promise<string[]> {
    return guarded(() => unreferenced(this.database.db, erasure));
  }

  /** Every stage ever published, by shard, position and id. */
  async stages(): Promise<types.Stage[]> {
    return guarded(() => readStages(this.database.db));
  }

  async activeStages(shard?: number): Promise<types.ActiveStage[]> {
    return guarded(async () => (await readStages(this.database.db, 'active', shard)) as types.ActiveStage[]);
  }

  /** The newest version; `manifest` is its digest. Throws `no-run` before `createRun`. */
  async version(): Promise<{ version: number; manifest: string }> {
    return guarded(() => latestVersion(this.database.db));
  }

  /** Oldest first; with a limit, only the newest so many. */
  async versions(limit?: number): Promise<types.VersionRow[]> {
    const newest = this.database.db.select().from(versions).orderBy(desc(versions.version));
    return guarded(async () => (await (limit === undefined ? newest : newest.limit(limit))).reverse());
  }

  /** What was kept with `note`, by name, of the names that begin with `prefix`. */
  async notes(prefix: string): Promise<Map<string, unknown>> {
    return guarded(() => readNotes(this.database.db, prefix));
  }

  /** Erasures in the order they were committed. */
  async erasures(state?: types.ErasureRow['state']): Promise<types.ErasureRow[]> {
    return guarded(async () => {
      const rows = await this.database.db
        .select()
        .from(erasures)
        .where(state === undefined ? undefined : eq(erasures.state, state))
        .orderBy(asc(erasures.seq));
      return rows.map(erasureRow);
    });
  }

  /** The newest `limit` completed erasures as they were told of, oldest first. */
  async receipts(limit: number): Promise<Pick<types.ErasureRow, 'receipt' | 'repairedAt'>[]> {
    const { receipt, repairedAt } = erasures;
    const newest = this.database.db
      .select({ receipt, repairedAt })
      .from(erasures)
      .where(eq(erasures.state, 'completed'))
      .orderBy(desc(erasures.seq))
      .limit(limit);
    return guarded(async () => (await newest).reverse());
  }

  /** Completed erasures that no complete repair has followed yet, oldest first. */
  async unrepaired(): Promise<string[]> {
    return guarded(() => unrepaired(this.database.db));
  }

  /** The same in numbers. */
  async awaitingRepair(): Promise<types.AwaitingRepair> {
    return guarded(() => awaitingRepair(this.database.db));
  }

  async erasure(id: string): Promise<types.ErasureRow | null> {
    return guarded(async () => {
      const [row] = await this.database.db.select().from(erasures).where(eq(erasures.id, id));
      return row === undefined ? null : erasureRow(row);
    });
  }

  /** The erasure that was asked for under this idempotency key. */
  async erasureFor(idempotencyKey: string): Promise<types.ErasureRow | null> {
    return guarded(async () => {
      const where = eq(erasures.idempotencyKey, idempotencyKey);
      const [row] = await this.database.db.select().from(erasures).where(where);
      return row === undefined ? null : erasureRow(row);
    });
  }

  /** The log, oldest first. */
  entries(): AsyncGenerator<types.Entry> {
    return readEntries(this.database.db);
  }

  /** Recomputes the hash chain and holds the tables against it; returns the number of entries. Throws LedgerCorruptError. */
  async verifyChain(): Promise<number> {
    return guarded(() => audit(this.database.db));
  }

  async #saltOf(): Promise<string> {
    if (this.#salt === undefined) await this.run();
    return this.#salt ?? fail();
  }

  async #bySlice(column: 'revision' | 'records'): Promise<number[][]> {
    const rows = await guarded(() => this.database.db.select().from(slices));
    const table: number[][] = [];
    for (const row of rows) {
      table[row.shard] ??= [];
      (table[row.shard] as number[])[row.slice] = row[column];
    }
    return table;
  }
}

function fail(): never {
  throw new LedgerError('no-run', 'the ledger holds no run yet');
}

function erasureRow({ seq: _, result, ...row }: typeof erasures.$inferSelect): types.ErasureRow {
  return { ...row, result: result as types.Erased };
}
