import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { assertEmbedded, type Backup, type BackupChoice, backupLedger } from './backup.ts';
import { UnlearnerError } from './errors.ts';
import type { Listener } from './listeners.ts';
import type { OpenedRun } from './open-run.ts';

/** In the run folder, for somebody to move away. */
export const STAGED_BACKUP = 'backup.staged';

/**
 * A backup of a run that is open: it is written into the run folder, and whoever asked for it moves it to where it belongs. It holds weights,
 * so an erasure is not acknowledged before it is gone from there.
 */
export class StagedBackup {
  readonly #opened: OpenedRun;
  readonly #emit: Listener;
  #making: Promise<unknown> | undefined;
  #stop = new AbortController();

  /** @param emit told how far it is, at every percent */
  constructor(opened: OpenedRun, emit: Listener) {
    this.#opened = opened;
    this.#emit = emit;
  }

  get folder(): string {
    return join(this.#opened.folder, STAGED_BACKUP);
  }

  /** @throws UnlearnerError `unavailable` while another is made, or when records are erased meanwhile */
  async make(choice: BackupChoice): Promise<Backup> {
    if (this.#making !== undefined)
      throw new UnlearnerError('unavailable', 'a backup is being made; ask again when it is done');
    this.#stop = new AbortController();
    const making = this.#make(choice, this.#stop.signal);
    this.#making = making.catch(() => {});
    try {
      return await making;
    } finally {
      this.#making = undefined;
    }
  }

  async #make(choice: BackupChoice, signal: AbortSignal): Promise<Backup> {
    assertEmbedded(this.#opened.located.config.store);
    await this.#remove();
    let told = -1;
    const onFile = (done: number, total: number) => {
      choice.onFile?.(done, total);
      const percent = Math.floor((100 * done) / total);
      if (percent > told) this.#emit({ type: 'backup', done, total });
      told = percent;
    };
    return backupLedger(this.#opened.ledger, this.folder, { ...choice, onFile, signal });
  }

  /** Stops one that is being made, and removes one that nobody has moved away. */
  async drop(): Promise<void> {
    this.#stop.abort(new UnlearnerError('unavailable', 'records were erased during the backup; ask again'));
    await this.#making;
    await this.#remove();
  }

  #remove(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true });
  }
}
