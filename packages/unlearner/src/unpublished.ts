import type { Ledger } from '@s3t/ledger';

/**
 * Adapters that were stored and not published, because a disk was full or the database stopped: no row of the ledger names them, but they
 * may have learnt from a record that is erased next. All of it only where nothing is published meanwhile.
 */
export class Unpublished {
  readonly #ledger: Ledger;
  #mayBeLeft = false;

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** Destroys adapters that no active stage has. Where that fails, `sweepLeft` tries again. */
  async sweep(): Promise<void> {
    this.#mayBeLeft = true;
    const active = await this.#ledger.activeStages();
    await this.#ledger.adapters.sweep(new Set(active.map(({ weights }) => weights)));
    this.#mayBeLeft = false;
  }

  /** The same, where it has failed before: what costs nothing otherwise. */
  async sweepLeft(): Promise<void> {
    if (this.#mayBeLeft) await this.sweep();
  }
}
