import type { Ledger } from '../index.ts';

/** A database to test on. */
export interface Stand {
  /** An empty ledger. */
  fresh(): Promise<Ledger>;
  /** Closes it and opens the same again. */
  reopen(ledger: Ledger): Promise<Ledger>;
  done(ledger: Ledger): Promise<void>;
}
