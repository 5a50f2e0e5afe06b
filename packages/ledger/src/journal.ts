// The journal of erasures: a file beside the database, and independent of it. A database restored from yesterday does not know what was
// erased today; the journal does, and the ledger catches up before anything is answered from it. A line is an entry of a hash chain, as
// in the log, and holds salted commitments: nobody can tell from it whose records they were.
import { open, readFile, truncate } from 'node:fs/promises';
import { dirname } from 'node:path';
import { entryHash, follow, start } from './chain.ts';
import { LedgerCorruptError, LedgerError, StoreWriteError } from './errors.ts';
import { syncFolder } from './sync-folder.ts';
import type { Entry } from './types.ts';

/** An erasure as the journal keeps it: enough to carry it out again. */
export interface JournaledErasure {
  /** The run's id. */
  run: string;
  erasure: string;
  requestDigest: string;
  /** Milliseconds since 1970. */
  receivedAt: number;
  /** Of the erased records' keys: HMACs under the run's salt. */
  commitments: readonly string[];
}

/** One process writes a journal at a time: whoever holds the run's lock. */
export class Journal {
  readonly file: string;
  #last: { seq: number; hash: string } = start;
  readonly #known = new Set<string>();
  #tail: Promise<unknown> = Promise.resolve();

  private constructor(file: string) {
    this.file = file;
  }

  /**
   * Reads a journal, and takes off what a power cut left of a line: its erasure was not acknowledged.
   * @throws LedgerCorruptError naming the line that was changed
   */
  static async open(file: string): Promise<{ journal: Journal; erasures: JournaledErasure[] }> {
    const journal = new Journal(file);
    const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return Buffer.alloc(0);
      throw error;
    });
    const end = bytes.lastIndexOf('\n') + 1;
    const erasures: JournaledErasure[] = [];
    for (const line of bytes.toString('utf8', 0, end).split('\n').slice(0, -1)) {
      const number = journal.#last.seq + 2;
      try {
        const entry = JSON.parse(line) as Entry;
        journal.#last = follow(journal.#last, entry);
        const erasure = entry.payload as JournaledErasure;
        journal.#known.add(erasure.erasure);
        erasures.push(erasure);
      } catch (cause) {
        const message = `${file}: line ${number} was changed after it was written, or one before it is missing`;
        throw new LedgerCorruptError(message, null, { cause });
      }
    }
    if (end < bytes.length) await truncate(file, end);
    return { journal, erasures };
  }

  /** Whether an erasure stands in it. */
  has(erasure: string): boolean {
    return this.#known.has(erasure);
  }

  /** Adds an erasure, unless it is there. Durable once it resolves. @throws StoreWriteError */
  append(erasure: JournaledErasure, at: number): Promise<void> {
    const appended = this.#tail.then(() => this.#append(erasure, at));
    this.#tail = appended.catch(() => {});
    return appended;
  }

  async #append(erasure: JournaledErasure, at: number): Promise<void> {
    if (this.has(erasure.erasure)) return;
    const { seq, hash: previous } = this.#last;
    const entry = { seq: seq + 1, kind: 'erase', at, payload: erasure, previous };
    const hash = entryHash(entry);
    try {
      const file = await open(this.file, 'a', 0o600);
      const { size } = await file.stat();
      try {
        await file.writeFile(`${JSON.stringify({ ...entry, hash })}\n`);
        await file.sync();
      } catch (error) {
        // Half a line must not stand in front of the next one.
        await file.truncate(size).catch(() => {});
        throw error;
      } finally {
        await file.close();
      }
      if (seq < 0) await syncFolder(dirname(this.file));
    } catch (error) {
      throw new StoreWriteError(this.file, error);
    }
    this.#last = { seq: seq + 1, hash };
    this.#known.add(erasure.erasure);
  }
}

/** @throws LedgerError `journal` when one of the erasures is of another run than `run` */
export function assertSameRun(file: string, erasures: readonly JournaledErasure[], run: string): void {
  if (erasures.some((erasure) => erasure.run !== run))
    throw new LedgerError('journal', `${file}: is the journal of another run`);
}
