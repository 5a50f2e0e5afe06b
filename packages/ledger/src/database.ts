import { fileURLToPath } from 'node:url';
import { DrizzleQueryError } from 'drizzle-orm';
import type { PgDatabase, PgQueryResultHKT } from 'drizzle-orm/pg-core';
import { causeMessage, LedgerError } from './errors.ts';
import type * as schema from './schema.ts';

/** What both drivers give, and what a transaction is: the queries below run on either. */
export type Db = PgDatabase<PgQueryResultHKT, typeof schema>;

/** An open database, whichever it is. */
export interface Database {
  db: Db;
  /** Where its files lie, of one that is embedded; null of a server's, which are not ours to copy. */
  folder: string | null;
  /** Throws when the database is no longer ours (a lost advisory lock). */
  check(): void;
  /** Makes what was written so far cheap to reopen. */
  checkpoint(): Promise<void>;
  close(): Promise<void>;
}

/** The same folder from `src` and from `dist`. */
export const migrationsFolder: string = fileURLToPath(new URL('../migrations', import.meta.url));

/**
 * Runs `work` in one transaction. Errors of ours pass through; the database's own become a one-line LedgerError, because
 * drizzle's carry the SQL and every parameter in their message.
 */
export async function transaction<T>(database: Database, work: (tx: Db) => Promise<T>): Promise<T> {
  database.check();
  return guarded(() => database.db.transaction(work));
}

/** Runs a query, with database errors translated as in `transaction`. */
export async function guarded<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof LedgerError || !(error instanceof Error)) throw error;
    if (!(error instanceof DrizzleQueryError) && !('severity' in error)) throw error;
    throw new LedgerError('database', `the ledger's database failed: ${causeMessage(error)}`, {
      cause: error,
    });
  }
}
