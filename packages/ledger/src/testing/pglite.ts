import { rm } from 'node:fs/promises';
import { sql } from 'drizzle-orm';
import { type Ledger, openLedger } from '../index.ts';
import { temporaryFolder } from './run.ts';

const TABLES = ['run', 'records', 'slices', 'erased', 'stages', 'versions', 'erasures', 'entries'];

/** Runs SQL beside the ledger's back. */
export async function execute(ledger: Ledger, statement: string): Promise<void> {
  const { database } = ledger as unknown as {
    database: { db: { execute(query: unknown): Promise<unknown> } };
  };
  await database.db.execute(sql.raw(statement));
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
    this.#folder ??= await temporaryFolder();
    this.#open = await openLedger({ store: 'file:', folder: this.#folder });
    return this.#open;
  }
}
