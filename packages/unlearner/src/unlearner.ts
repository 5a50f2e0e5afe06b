import { affectedBy, digestOf, placer, recordKey } from '@s3t/algorithm';
import type { DataRecord } from '@s3t/data';
import type { RunConfig } from './config.ts';
import { UnlearnerError } from './errors.ts';
import { evaluate } from './evaluate.ts';
import { Mutex } from './mutex.ts';
import { type OpenedRun, type OpenOptions, openRun, translate } from './open-run.ts';
import { predict } from './predict.ts';
import { receiptOf } from './receipts.ts';
import { matchRecords, type RunRecord, readSplit } from './run-data.ts';
import { Serving } from './serving.ts';
import { statusOf } from './status.ts';
import type {
  EraseOptions,
  Evaluation,
  Input,
  Prediction,
  Receipt,
  Status,
  TrainingSummary,
  UnlearnerEvent,
  Verification,
  WorkOptions,
} from './types.ts';
import { type VerifyOptions, verifyRun } from './verify.ts';
import { Worker } from './work.ts';

type Listener = (event: UnlearnerEvent) => void;

/**
 * A run: training, answering, erasing, repairing, verifying. One process holds a run at a time.
 *
 * @example
 * await using run = await Unlearner.open({ run: 'runs/mine', config: 's3t.config.json' });
 * await run.train();
 * const { answers } = await run.predict([{ image }]);
 * const receipt = await run.erase(['customer-17']);
 * await run.repair();
 */
export class Unlearner {
  readonly #opened: OpenedRun;
  readonly #serving: Serving;
  readonly #worker: Worker;
  readonly #listeners: Set<Listener> = new Set();
  /** Erasures and publications, one after the other: each ends with the ensemble that its version names. */
  readonly #changes = new Mutex();
  readonly #work = new Mutex();
  #records: Promise<Map<string, RunRecord>> | null = null;
  #evaluation: Promise<DataRecord[]> | null = null;

  private constructor(opened: OpenedRun) {
    this.#opened = opened;
    const { base, form, run, ledger, located, setting } = opened;
    const { slices } = located.config;
    this.#serving = new Serving({ base, form, run, store: ledger.adapters, slices });
    this.#worker = new Worker({
      ledger,
      base,
      form,
      config: located.config,
      setting,
      sequences: run.sequences,
      records: () => this.#trainingRecords(),
      emit: (event) => this.#emit(event),
      published: () => this.#changes.run(() => this.#refresh()),
    });
  }

  /** Opens a run folder, or creates it from a configuration. Finishes what a crash left of an erasure. */
  static async open(options: OpenOptions): Promise<Unlearner> {
    const opened = await openRun(options);
    const unlearner = new Unlearner(opened);
    try {
      await unlearner.#recover();
      await unlearner.#refresh();
      return unlearner;
    } catch (error) {
      await unlearner.close();
      throw translate(error);
    }
  }

  get config(): RunConfig {
    return this.#opened.located.config;
  }

  get labels(): readonly string[] {
    return this.config.data.labels;
  }

  /** The pictures the base takes; others are resized. */
  get imageSize(): { width: number; height: number; channels: number } {
    const { size, channels } = this.#opened.base.preprocessing;
    return { ...size, channels };
  }

  /** The version that answers now; null when nothing is served. */
  get servedVersion(): number | null {
    return this.#serving.served?.version ?? null;
  }

  /** Listens to what happens; returns how to stop. A listener that throws stops nothing. */
  on(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Trains the stages that are missing. Stopped at any moment, by a signal or a crash, the same call goes on. */
  async train(options: WorkOptions = {}): Promise<TrainingSummary> {
    const { drift, located } = this.#opened;
    if (drift !== null)
      throw new UnlearnerError(
        'base',
        `${located.file}: ${drift} changed since the run was created, so its stages cannot be trained again; start a new run`,
      );
    return this.#guard(() => this.#work.run(() => this.#worker.run(options)));
  }

  /** Retrains on the records that remain what erasures deactivated: the same loop as training. */
  async repair(options: WorkOptions = {}): Promise<TrainingSummary> {
    return this.train(options);
  }

  /** Answers inputs from the active stages. @throws UnlearnerError `unavailable` when no shard has one */
  async predict(inputs: readonly Input[]): Promise<Prediction> {
    if (inputs.length === 0) throw new UnlearnerError('usage', 'inputs: there are none');
    const { base } = this.#opened;
    return this.#guard(() => predict({ serving: this.#serving, base, labels: this.labels }, inputs));
  }

  /** Measures what is served on the configuration's evaluation data. */
  async evaluate(): Promise<Evaluation> {
    return this.#guard(async () => {
      this.#evaluation ??= readSplit(this.#opened.located, 'eval');
      const records = await this.#evaluation;
      return evaluate({ serving: this.#serving, base: this.#opened.base, labels: this.labels }, records);
    });
  }

  /**
   * Erases records. When it resolves, nothing that has learnt from them is in the ensemble, on the device or on disk, no
   * answer computed with it will be given, and all that is durable.
   * @throws UnlearnerError `unknown-record`, `already-erased` or `idempotency-conflict`, with nothing changed
   */
  async erase(ids: readonly string[], options: EraseOptions = {}): Promise<Receipt> {
    const { dryRun = false, idempotencyKey, receivedAt = Date.now() } = options;
    if (ids.length === 0) throw new UnlearnerError('usage', 'records: there are none');
    const { ledger } = this.#opened;
    const keys = ids.map(recordKey);
    return this.#guard(() =>
      this.#changes.run(async () => {
        const requestDigest = digestOf([...keys].sort());
        const erased = await ledger.erase({ keys, requestDigest, receivedAt, idempotencyKey, dryRun });
        if (erased.dryRun) return receiptOf(erased, receivedAt, Date.now());
        if (erased.repeated) {
          const row = await ledger.erasure(erased.erasure);
          return { ...(row!.receipt as Receipt), repeated: true };
        }
        // The ensemble first: from the next line on no answer comes from what was erased.
        await this.#refresh();
        const places = ids.map(placer({ ...this.config, seed: this.config.training.seed }));
        this.#worker.erased(keys, (plan) => affectedBy(plan, places));
        await this.#forget(keys);
        await ledger.adapters.destroyAll(erased.deactivated.map(({ weights }) => weights));
        const destroyedAt = Date.now();
        const receipt = receiptOf(erased, receivedAt, destroyedAt);
        await ledger.acknowledge(erased.erasure, { acknowledgedAt: destroyedAt, destroyedAt, receipt });
        this.#emit({ type: 'erased', receipt });
        return receipt;
      }),
    );
  }

  /** The receipt of an erasure, null when there is none or it is not finished. */
  async receipt(erasure: string): Promise<Receipt | null> {
    return ((await this.#opened.ledger.erasure(erasure))?.receipt as Receipt | undefined) ?? null;
  }

  async status(): Promise<Status> {
    return this.#guard(async () => statusOf(this.#opened, await this.#worker.wanted()));
  }

  /** Holds the run against its data, its log and, on request, against training that never saw what was erased. */
  async verify(options: VerifyOptions = {}): Promise<Verification> {
    return this.#guard(async () =>
      verifyRun(this.#opened, await this.#trainingRecords(), options, (event) => this.#emit(event)),
    );
  }

  /** Writes where a server of this run listens into the run's lock, for other processes to find. */
  async publishUrl(url: string): Promise<void> {
    await this.#opened.ledger.lock?.publish({ url });
  }

  async close(): Promise<void> {
    this.#serving.dispose();
    await this.#opened.ledger.close();
    if (this.#opened.ownsDevice) this.#opened.device.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Serves what the ledger says is active. */
  async #refresh(): Promise<void> {
    const { ledger } = this.#opened;
    const active = await ledger.activeStages();
    const version = await ledger.version();
    await this.#serving.place(active);
    this.#serving.switchTo(active, version);
    this.#emit({ type: 'version', ...version });
  }

  /** Destroys what erasures before a crash left, and completes them. */
  async #recover(): Promise<void> {
    const { ledger } = this.#opened;
    await ledger.adapters.destroyAll(await ledger.pendingDestruction());
    for (const { id, result, receivedAt } of await ledger.erasures('in_progress')) {
      const destroyedAt = Date.now();
      const receipt = receiptOf(result, receivedAt, destroyedAt);
      await ledger.acknowledge(id, { acknowledgedAt: destroyedAt, destroyedAt, receipt });
    }
    // Adapters that were stored but never published, and temporary files.
    await ledger.adapters.sweep(new Set((await ledger.activeStages()).map(({ weights }) => weights)));
  }

  async #trainingRecords(): Promise<Map<string, RunRecord>> {
    const { located, ledger } = this.#opened;
    this.#records ??= readSplit(located, 'train').then((records) => matchRecords(located, ledger, records));
    try {
      return await this.#records;
    } catch (error) {
      // Read again next time: the file may be put right.
      this.#records = null;
      throw error;
    }
  }

  async #forget(keys: readonly string[]): Promise<void> {
    const records = await this.#records?.catch(() => null);
    for (const key of keys) records?.delete(key);
  }

  #emit(event: UnlearnerEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch {
        // Somebody's progress bar must not stop an erasure.
      }
    }
  }

  async #guard<T>(body: () => Promise<T>): Promise<T> {
    try {
      return await body();
    } catch (error) {
      throw translate(error);
    }
  }
}
