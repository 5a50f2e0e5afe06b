import { cpSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import { inject } from 'vitest';
import { type Ledger, openLedger } from '../index.ts';
import { temporaryFolder } from './run.ts';

const TABLES = ['run', 'records', 'slices', 'erased', 'stages', 'versions', 'erasures', 'entries', 'notes'];

/** Runs SQL beside the ledger's back, and gives the rows. */
export async function execute(ledger: Ledger, statement: string): Promise<Record<string, unknown>[]> {
  const { database } = ledger as unknown as {
    database: { db: { execute(query: unknown): Promise<{ rows: Record<string, unknown>[] }> } };
  };
  return (await database.db.execute(sql.raw(statement))).rows;
}

/** A run folder with an empty database in it: a copy of the one that template.ts made for the whole run of the tests. */
export async function emptyRunFolder(): Promise<string> {
  const folder = await temporaryFolder();
  // Synchronously: a database has a thousand files, and a promise for each costs six times their bytes.
  cpSync(join(inject('template'), 'ledger'), join(folder, 'ledger'), { recursive: true });
  return folder;
}

/** Creating a PGlite database takes seconds, so the tests of a file share one folder and empty its tables. */
export class SharedPglite {
  #folder: string | undefined;
  #open: Ledger | undefined;

  async fresh(): Promise<Ledger> {
    const ledger = this.#open ?? (await this.#opened());
    await execute(ledger, `truncate ${TABLES.join()}`);
    for (const digest of await ledger.adapters.list()) await ledger.adapters.destroy(digest);
    return ledger;
  }

  async reopen(): Promise<Ledger> {
    await this.#open?.close();
    return this.#opened();
  }

  async remove(): Promise<void> {
    await this.#open?.close();
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true });
  }

  async #opened(): Promise<Ledger> {
    this.#folder ??= await emptyRunFolder();
    this.#open = await openLedger({ store: 'file:', folder: this.#folder });
    return this.#open;
  }
}
