import { sql } from 'drizzle-orm';
import { type Acknowledge, acknowledge } from './acknowledge.ts';
import type { AdapterStore } from './adapter-store.ts';
import { type BackupManifest, type BackupOptions, writeBackup } from './backup.ts';
import { catchUp } from './catch-up.ts';
import { createRun } from './create-run.ts';
import { type Database, type Db, guarded, transaction } from './database.ts';
import { erase } from './erase.ts';
import { LedgerError } from './errors.ts';
import { Journal } from './journal.ts';
import type { Lock } from './lock.ts';
import { setNote } from './notes.ts';
import { publishStage } from './publish.ts';
import { LedgerReader } from './reader.ts';
import { markRepaired } from './repaired.ts';
import type * as types from './types.ts';

/**
 * A run's memory: its records, stages, versions and erasures, and the log that binds them. Every method that writes is one
 * transaction: it happened whole or not at all, also across a kill or a power cut. All of them may throw LedgerError.
 */
export class Ledger extends LedgerReader implements AsyncDisposable {
  /** The run folder. */
  readonly folder: string;
  readonly adapters: AdapterStore;
  /** The lock of the run folder; null when the ledger was opened shared. */
  readonly lock: Lock | null;
  readonly #locks: readonly Lock[];
  /** Null until `catchUp`, and for good in a shared ledger. */
  #journal: Journal | null = null;
  #manifest: types.ManifestOf | undefined;
  #closed: Promise<void> | undefined;

  /** Use `openLedger`. */
  constructor(parts: {
    folder: string;
    database: Database;
    adapters: AdapterStore;
    locks: readonly Lock[];
    manifest: types.ManifestOf | undefined;
  }) {
    super(parts.database);
    this.folder = parts.folder;
    this.adapters = parts.adapters;
    this.lock = parts.locks[0] ?? null;
    this.#locks = parts.locks;
    this.#manifest = parts.manifest;
  }

  /** Sets the function that gives the next manifest where a call brings none of its own. */
  useManifest(manifest: types.ManifestOf): void {
    this.#manifest = manifest;
  }

  /** Starts a run: its options, its records, version 0 and the first log entry. Throws `run-exists` when there is one. */
  async createRun(input: types.CreateRun): Promise<types.RunRow> {
    const manifest = this.#manifestOf(input.manifest);
    await transaction(this.database, (tx) => createRun(tx, input, manifest, input.at ?? Date.now()));
    await guarded(() => this.database.checkpoint());
    return (await this.run()) as types.RunRow;
  }

  /**
   * Makes a trained stage part of the ensemble; its weights must be in `adapters`. Returns `published: false` when an erasure touched
   * its lineage since the revisions in `guard` were read. Publishing an active stage again changes nothing; other weights for a
   * known id are a DeterminismError.
   */
  async publishStage(input: types.PublishStage): Promise<types.Published> {
    const manifest = this.#manifestOf(input.manifest);
    if (!(await this.adapters.has(input.weights))) {
      throw new LedgerError(
        'weights-missing',
        `stage ${input.id} was published before its weights ${input.weights} were stored`,
      );
    }
    return transaction(this.database, (tx) => publishStage(tx, input, manifest, input.at ?? Date.now()));
  }

  /**
   * Erases records and deactivates every stage that has seen them. Throws UnknownRecordError, UnknownSubjectError,
   * AlreadyErasedError or IdempotencyConflictError, and then has changed nothing. The caller still has to take the weights out of memory, destroy
   * their files and `acknowledge`.
   */
  async erase(input: types.Erase): Promise<types.ErasedNow> {
    const manifest = this.#manifestOf(input.manifest);
    const work = (tx: Db) => erase(tx, input, manifest, input.at ?? Date.now());
    return input.dryRun === true ? rolledBack(this.database, work) : transaction(this.database, work);
  }

  /**
   * Goes through the erasure of a record and its acknowledgement, and takes both back, and commits nothing but a message in the database's own
   * log: what the first ones need is planned and compiled by then.
   */
  async rehearse(key: string, times: number): Promise<void> {
    const at = Date.now();
    const request = { keys: [key], requestDigest: '0'.repeat(64), receivedAt: at, dryRun: true };
    const destroyed = { has: async () => false, path: () => '' };
    for (let time = 0; time < times; time++) {
      await rolledBack(this.database, async (tx) => {
        const result = await erase(tx, request, this.#manifestOf(undefined), at);
        const input = { acknowledgedAt: at, destroyedAt: at, receipt: result, statement: '' };
        await acknowledge(tx, { adapters: destroyed, journal: null }, result.erasure, input);
      });
      await transaction(this.database, (tx) =>
        tx.execute(sql`select pg_logical_emit_message(true, 's3t', 'rehearsal')`),
      );
    }
    // What was taken back still takes up room, and every opening of the run would add to it. The records were not written to.
    const { db } = this.database;
    await guarded(() => db.execute(sql`vacuum entries, versions, erasures, erased, stages, slices`));
  }

  /**
   * Writes an erasure that the ledger holds into the journal. `acknowledge` does so, too: an erasure that has to wait for other things need not
   * wait for this after them.
   */
  async journal({ id, requestDigest, receivedAt, result }: types.Journaled): Promise<void> {
    if (this.#journal === null) return;
    const run = (await this.run())!.id;
    const { commitments } = result;
    await this.#journal.append({ run, erasure: id, requestDigest, receivedAt, commitments }, Date.now());
  }

  /** Completes an erasure once its weights are destroyed (`not-destroyed` while a file remains). Repeating it changes nothing. */
  async acknowledge(erasure: string, input: Acknowledge): Promise<void> {
    const parts = { adapters: this.adapters, journal: this.#journal };
    await transaction(this.database, (tx) => acknowledge(tx, parts, erasure, input));
  }

  /**
   * Carries out erasures that the journal beside the database holds and the ledger does not: it was restored from a backup. Like
   * those that a crash interrupted they are `in_progress` then. Does nothing in a ledger that is shared.
   * @param file the journal @returns how many erasures there were
   * @throws LedgerCorruptError when the journal was changed, LedgerError `journal` when it is of another run
   */
  async catchUp(file: string): Promise<number> {
    if (this.lock === null) return 0;
    const { journal, erasures } = await Journal.open(file);
    const missed = await catchUp(this, journal, erasures);
    this.#journal = journal;
    return missed;
  }

  /**
   * Writes a backup: the database, the adapters of the stages that are active, and files of the run folder, all of one moment. Erasures
   * wait while the database is copied. @throws LedgerError `invalid` for a store that is not embedded, StoreWriteError
   */
  backup(into: string, options: BackupOptions): Promise<BackupManifest> {
    return writeBackup(
      { database: this.database, adapters: this.adapters, folder: this.folder },
      into,
      options,
    );
  }

  /** Says of completed erasures that at this moment no stage was missing any more. Repeating it changes nothing. */
  async repaired(erasures: readonly string[], moment: types.Repaired): Promise<void> {
    await transaction(this.database, (tx) => markRepaired(tx, erasures, moment));
  }

  /** Keeps something for the next process, beside the log; null takes it away. Durable once it resolves. */
  async note(name: string, value: unknown): Promise<void> {
    await transaction(this.database, (tx) => setNote(tx, name, value));
  }

  /** Closes the database and gives the lock back. Doing so twice is harmless. */
  close(): Promise<void> {
    this.#closed ??= (async () => {
      try {
        await this.database.close();
      } finally {
        for (const lock of this.#locks.toReversed()) await lock.release();
      }
    })();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #manifestOf(given: types.ManifestOf | undefined): types.ManifestOf {
    const manifest = given ?? this.#manifest;
    if (manifest === undefined)
      throw new LedgerError('invalid', 'no manifest function was given: see Ledger.useManifest');
    return manifest;
  }
}

/** Runs `work` in a transaction that leaves nothing behind. */
async function rolledBack<T>(database: Database, work: (tx: Db) => Promise<T>): Promise<T> {
  const done: { result: T }[] = [];
  try {
    return await transaction(database, async (tx) => {
      done.push({ result: await work(tx) });
      throw done;
    });
  } catch (error) {
    if (error === done) return done[0]!.result;
    throw error;
  }
}
