import type { DataRecord } from '@s3t/data';
import { UnlearnerError } from './errors.ts';
import type { OpenedRun } from './open-run.ts';
import { matchRecords, type RunRecord, readSplit } from './run-data.ts';
import { evaluationDigest, StageMeter } from './stage-meter.ts';

/** The data of an open run, read when it is first needed and held in memory, less what is erased. */
export class RunRecords {
  readonly #opened: OpenedRun;
  /** The training data once it was read, less what was erased since. */
  #training: Promise<Map<string, RunRecord>> | null = null;
  #loaded: Map<string, RunRecord> | null = null;
  /** Keys of what is erased while the data is read; null when it is not. */
  #erasedMeanwhile: Set<string> | null = null;
  #evaluation: Promise<DataRecord[]> | null = null;
  #meter: StageMeter | null = null;

  constructor(opened: OpenedRun) {
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

  /**
   * What measures the epochs of a stage; null where none is stopped early.
   * @throws UnlearnerError `data` when the evaluation data is no longer that of the run's stages
   */
  async meter(): Promise<StageMeter | null> {
    const { located, setting, base, form } = this.#opened;
    const { config, file } = located;
    if (!config.training.earlyStopping || this.#meter) return this.#meter;
    const records = await this.evaluation();
    const { eval: expected } = setting.data as { eval: string };
    if (evaluationDigest(records) !== expected) {
      // The file may be put right.
      this.#evaluation = null;
      throw new UnlearnerError(
        'data',
        `${file}: data.eval changed since the run was created, and training.earlyStopping goes by it, so its stages cannot be trained again; put the old data back, or start a new run`,
      );
    }
    this.#meter ??= new StageMeter({ base, form, config }, records);
    return this.#meter;
  }

  /** Takes erased records out of memory. Synchronous. */
  forget(keys: readonly string[]): void {
    for (const key of keys) {
      this.#loaded?.delete(key);
      this.#erasedMeanwhile?.add(key);
    }
  }

  /** Keys of the records in memory that these commitments stand for. */
  async keysOf(commitments: ReadonlySet<string>): Promise<string[]> {
    const { ledger } = this.#opened;
    const keys: string[] = [];
    for (const key of (await this.#training?.catch(() => null))?.keys() ?? [])
      if (commitments.has(await ledger.commitment(key))) keys.push(key);
    return keys;
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
