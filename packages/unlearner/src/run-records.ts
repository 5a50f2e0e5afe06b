import type { DataRecord } from '@s3t/data';
import type { OpenedRun } from './open-run.ts';
import { matchRecords, type RunRecord, readSplit } from './run-data.ts';

/** The data of an open run, read when it is first needed and held in memory, less what is erased. */
export class RunRecords {
  readonly #opened: Pick<OpenedRun, 'located' | 'ledger'>;
  /** The training data once it was read, less what was erased since. */
  #training: Promise<Map<string, RunRecord>> | null = null;
  #loaded: Map<string, RunRecord> | null = null;
  /** Keys of what is erased while the data is read; null when it is not. */
  #erasedMeanwhile: Set<string> | null = null;
  #evaluation: Promise<DataRecord[]> | null = null;

  constructor(opened: Pick<OpenedRun, 'located' | 'ledger'>) {
    this.#opened = opened;
  }

  /** The records that the run learns from, by key. The map is the run's own: what is erased leaves it. */
  training(): Promise<Map<string, RunRecord>> {
    if (this.#training) return this.#training;
    const reading = this.#read();
    this.#training = reading;
    // Read again next time: the file may be put right.
    reading.catch(() => {
      this.#training = null;
    });
    return reading;
  }

  /** The records that answers are measured with. */
  evaluation(): Promise<DataRecord[]> {
    if (this.#evaluation) return this.#evaluation;
    const reading = readSplit(this.#opened.located, 'eval');
    this.#evaluation = reading;
    // Read again next time: the file may be put right.
    reading.catch(() => {
      this.#evaluation = null;
    });
    return reading;
  }

  /** Takes erased records out of memory. Synchronous. */
  forget(keys: readonly string[]): void {
    for (const key of keys) {
      this.#loaded?.delete(key);
      this.#erasedMeanwhile?.add(key);
    }
  }

  async #read(): Promise<Map<string, RunRecord>> {
    const { located, ledger } = this.#opened;
    const erased = new Set<string>();
    this.#erasedMeanwhile = erased;
    try {
      const records = await matchRecords(located, ledger, await readSplit(located, 'train'));
      for (const key of erased) records.delete(key);
      this.#loaded = records;
      return records;
    } finally {
      this.#erasedMeanwhile = null;
    }
  }
}
