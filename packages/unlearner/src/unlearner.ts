import { affectedBy, digestOf } from '@s3t/algorithm';
import type { DataRecord } from '@s3t/data';
import type { ErasureRow, GoneRecord } from '@s3t/ledger';
import { statementText } from '@s3t/ledger/log';
import { hostInputs } from '@s3t/model';
import type { RunConfig } from './config.ts';
import { costsOf } from './costs.ts';
import { erasureRequest, namedError } from './erasure-request.ts';
import { UnlearnerError } from './errors.ts';
import { evaluate } from './evaluate.ts';
import { exportStack } from './export.ts';
import { type ContinueOptions, continueText } from './generation.ts';
import { Mutex } from './mutex.ts';
import { type OpenedRun, type OpenOptions, openRun, translate } from './open-run.ts';
import { forward, predict } from './predict.ts';
import { receiptOf, storedReceipt } from './receipts.ts';
import { noteRepair, repairStandingOf } from './repairs.ts';
import { RightOfWay } from './right-of-way.ts';
import { matchRecords, placeRecords, type RunRecord, readSplit } from './run-data.ts';
import { Serving } from './serving.ts';
import { groupsOf } from './setting.ts';
import type { SignedLog } from './signed-log.ts';
import { type StackConfidences, stackConfidences } from './stack-confidences.ts';
import { statementOf } from './statement.ts';
import { statusOf } from './status.ts';
import { outputNames, TASKS } from './tasks.ts';
import type {
  EraseOptions,
  ErasureTarget,
  Evaluation,
  Export,
  ExportOptions,
  GenerationPiece,
  Input,
  Prediction,
  Prompt,
  Receipt,
  RecordPlace,
  RepairStanding,
  RunCosts,
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
  readonly #decoding: Mutex = new Mutex();
  readonly #worker: Worker;
  readonly #listeners: Set<Listener> = new Set();
  /** Erasures and publications, one after the other: each ends with the ensemble that its version names. */
  readonly #changes = new Mutex();
  readonly #erasures = new RightOfWay();
  readonly #work = new Mutex();
  readonly #closing = new AbortController();
  readonly #pending: Set<Promise<unknown>> = new Set();
  #closed: Promise<void> | null = null;
  /** The training data once it was read, less what was erased since. */
  #records: Promise<Map<string, RunRecord>> | null = null;
  #loaded: Map<string, RunRecord> | null = null;
  /** Keys of what is erased while the data is read; null when it is not. */
  #erasedMeanwhile: Set<string> | null = null;
  #evaluation: Promise<DataRecord[]> | null = null;
  /** Aborted at the next erasure: for work that compares with the run as it was. */
  #erasure = new AbortController();
  /** Whether an erasure that the ledger holds has failed to take effect in full. */
  #isUnfinished = false;

  private constructor(opened: OpenedRun) {
    this.#opened = opened;
    const { base, form, run, ledger, located, setting, folder } = opened;
    const groups = groupsOf(form, located.config);
    const { ensemble } = located.config;
    this.#serving = new Serving({ base, form, run, store: ledger.adapters, groups, ensemble });
    this.#worker = new Worker({
      ledger,
      base,
      form,
      config: located.config,
      setting,
      sequences: run.sequences,
      records: () => this.#trainingRecords(),
      erasures: this.#erasures,
      emit: (event) => this.#emit(event),
      exclusively: (section) => this.#changes.run(section),
      refresh: () => this.#refresh(),
      folder,
      completed: (isComplete) => this.#noteRepair(isComplete),
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

  /** What an answer's scores are of: the labels; of a regression "value"; none of a language model. */
  get labels(): readonly string[] {
    return outputNames(this.config);
  }

  /** What an input is. */
  get reads(): 'image' | 'text' {
    return TASKS[this.config.task].reads;
  }

  /** When the run was created, milliseconds since 1970. */
  get createdAt(): number {
    return this.#opened.run.createdAt;
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
    const signal = AbortSignal.any([this.#closing.signal, ...(options.signal ? [options.signal] : [])]);
    return this.#guard(() => this.#work.run(() => this.#worker.run({ ...options, signal })));
  }

  /** Retrains on the records that remain what erasures deactivated: the same loop as training. */
  async repair(options: WorkOptions = {}): Promise<TrainingSummary> {
    return this.train(options);
  }

  /** What waits for a repair, and when the configuration's policy wants one. */
  async repairStanding(): Promise<RepairStanding> {
    return this.#guard(() => repairStandingOf(this.#opened));
  }

  async #noteRepair(isComplete: () => Promise<boolean>): Promise<boolean> {
    const noted = await noteRepair(this.#opened, (section) => this.#changes.run(section), isComplete);
    if (noted !== null && noted.erasures.length > 0)
      this.#emit({ type: 'repaired', erasures: noted.erasures, at: new Date(noted.at).toISOString() });
    return noted !== null;
  }

  /** Answers inputs from the active stages. @throws UnlearnerError `unavailable` when no shard has one */
  async predict(inputs: readonly Input[]): Promise<Prediction> {
    if (inputs.length === 0) throw new UnlearnerError('usage', 'inputs: there are none');
    this.#assertOwnBase();
    return this.#guard(() => predict(this.#answering(), inputs));
  }

  /**
   * Continues a text, of a run whose task is causal-lm: piece by piece, as tokens become certain. One text is continued at a time.
   * @param input a prompt; the fields of a record but for its response; or a conversation, where the base has a chat template
   * @throws UnlearnerError `usage` naming what is wrong; `unavailable` when nothing is served, or an erasure changes what is
   */
  async *generate(
    input: Prompt,
    options: ContinueOptions = {},
  ): AsyncGenerator<GenerationPiece, void, undefined> {
    this.#assertOwnBase();
    const signals = [this.#closing.signal, ...(options.signal ? [options.signal] : [])];
    const pieces = continueText({ ...this.#answering(), decoding: this.#decoding }, input, {
      ...options,
      signal: AbortSignal.any(signals),
    });
    try {
      for (;;) {
        const { value, done } = await this.#guard(() => pieces.next());
        if (done) return;
        yield value;
      }
    } finally {
      await pieces.return();
    }
  }

  /** Measures what is served on the configuration's evaluation data. */
  async evaluate(): Promise<Evaluation> {
    this.#assertOwnBase();
    return this.#guard(async () => evaluate(this.#answering(), await this.#evaluationRecords()));
  }

  #evaluationRecords(): Promise<DataRecord[]> {
    if (this.#evaluation) return this.#evaluation;
    const reading = readSplit(this.#opened.located, 'eval');
    this.#evaluation = reading;
    // Read again next time: the file may be put right.
    reading.catch(() => {
      this.#evaluation = null;
    });
    return reading;
  }

  /** The slice orders that every shard is trained in. */
  get sequences(): readonly (readonly number[])[] {
    return this.#opened.run.sequences;
  }

  /** What stages of this run cost: what a plan of another like it starts from. */
  async costs(): Promise<RunCosts> {
    return this.#guard(() => costsOf(this.#opened));
  }

  /** Where the records that remain lie. */
  async placements(): Promise<RecordPlace[]> {
    return this.#guard(async () => {
      const known = await this.#trainingRecords();
      const places: RecordPlace[] = [];
      for await (const { key, shard, slice } of this.#opened.ledger.records()) {
        const id = known.get(key)?.record.id;
        if (id !== undefined) places.push({ id, shard, slice });
      }
      return places;
    });
  }

  /**
   * How sure stacks are of the labels of training records, whether or not they were erased since, as long as the data holds them, and after
   * them of the evaluation data. For audits: nothing here is an answer of the run.
   * @param which stacks: those served, or every active prefix
   * @throws UnlearnerError `unknown-record`; `unavailable` when records are erased meanwhile
   */
  async stackConfidences(
    ids: readonly string[],
    which: 'served' | 'all',
  ): Promise<{ places: RecordPlace[]; stacks: StackConfidences[] }> {
    this.#assertOwnBase();
    return this.#guard(async () => {
      const { located } = this.#opened;
      const known = new Map((await readSplit(located, 'train')).map((record) => [record.id, record]));
      const records = ids.map((id) => {
        const record = known.get(id);
        if (record) return record;
        throw new UnlearnerError(
          'unknown-record',
          `${JSON.stringify(id)} is not in ${located.config.data.train}`,
        );
      });
      const places = placeRecords(located, records).map(({ shard, slice }, i) => ({
        id: ids[i]!,
        shard,
        slice,
      }));
      const all = [...records, ...(await this.#evaluationRecords())];
      const parts = { opened: this.#opened, serving: this.#serving, erasures: this.#erasures };
      return { places, stacks: await stackConfidences(parts, all, which, this.#erasure.signal) };
    });
  }

  /**
   * Erases records, by their ids or by whom they are about. When it resolves, nothing that has learnt from them is in the ensemble, on the device or on disk, no
   * answer computed with it will be given, and all that is durable. Where it fails after the ledger took it, what it
   * deactivated is not served either, and the next call of any erasure, or opening the run, finishes it.
   * @throws UnlearnerError `unknown-record`, `unknown-subject`, `already-erased` or `idempotency-conflict`, with nothing changed
   */
  async erase(target: readonly string[] | ErasureTarget, options: EraseOptions = {}): Promise<Receipt> {
    const { receivedAt = Date.now() } = options;
    const what = 'length' in target ? { records: target } : target;
    return this.#guard(() =>
      this.#erasures.hold(() => this.#changes.run(() => this.#erase(what, { ...options, receivedAt }))),
    );
  }

  async #erase(
    target: ErasureTarget,
    { dryRun = false, idempotencyKey, receivedAt, drain }: EraseOptions & { receivedAt: number },
  ): Promise<Receipt> {
    const { ledger } = this.#opened;
    if (this.#isUnfinished) await this.#finishAll();
    const request = await erasureRequest(target, { ledger, field: this.config.data.subject });
    const { requestDigest } = request;
    const { gone, ...erased } = await ledger
      .erase({ ...request, receivedAt, idempotencyKey, dryRun })
      .catch((error) => {
        throw namedError(error, target);
      });
    if (erased.dryRun) return receiptOf(erased, receivedAt, Date.now());
    if (erased.repeated) {
      const receipt = storedReceipt(await ledger.erasure(erased.erasure));
      return { ...receipt!, repeated: true };
    }
    this.#isUnfinished = true;
    this.#forget(gone);
    // The ensemble first: from the next line on no answer comes from what was erased.
    await this.#refresh();
    const drained = drain?.(erased.after.version);
    const receipt = await this.#finish({ result: erased, requestDigest, receivedAt }, drained);
    this.#isUnfinished = false;
    this.#emit({ type: 'erased', receipt });
    return receipt;
  }

  /**
   * Answers made-up records, in batches of every size and length, and goes through an erasure that is rolled back: after opening, the first
   * real ones find their code compiled and take no longer than those after them.
   */
  async rehearse(): Promise<void> {
    const { ledger, base } = this.#opened;
    const { inputs } = base.network.architecture;
    await this.#guard(async () => {
      if (base.language) await this.#serving.served?.ensemble.decoder().append([0]);
      else
        for (const count of this.#serving.served?.ensemble.batchSizes ?? [])
          for (const tokens of base.buckets)
            await forward(this.#answering(), hostInputs(inputs, count), count, tokens);
      await base.device.idle();
      await this.#changes.run(async () => {
        for await (const { key } of ledger.records()) {
          const request = { keys: [key], requestDigest: digestOf([key]), receivedAt: Date.now() };
          await ledger.erase({ ...request, dryRun: true });
          return;
        }
      });
    });
  }

  /** The receipt of an erasure, null when there is none or it is not finished. */
  async receipt(erasure: string): Promise<Receipt | null> {
    return storedReceipt(await this.#opened.ledger.erasure(erasure));
  }

  /** The receipt of the erasure that was asked for under this idempotency key, null when there is none or it is not finished. */
  async receiptFor(idempotencyKey: string): Promise<Receipt | null> {
    return storedReceipt(await this.#opened.ledger.erasureFor(idempotencyKey));
  }

  /** The log that holds the run's erasures, signed: receipts as files, and what auditors ask of it. */
  get log(): SignedLog {
    return this.#opened.log;
  }

  async status(): Promise<Status> {
    return this.#guard(async () => statusOf(this.#opened, await this.#worker.wanted()));
  }

  /**
   * Holds the run against its data, its log and, on request, against training that never saw what was erased.
   * @throws UnlearnerError `unavailable` when records are erased meanwhile
   */
  async verify(options: VerifyOptions = {}): Promise<Verification> {
    return this.#guard(async () => {
      const records = await this.#trainingRecords();
      const { erasure, ...moment } = await this.#changes.run(async () => ({
        erasure: this.#erasure.signal,
        records: new Map(records),
        active: await this.#opened.ledger.activeStages(),
      }));
      const stops = [erasure, this.#closing.signal, ...(options.signal ? [options.signal] : [])];
      return verifyRun(this.#opened, moment, options, AbortSignal.any(stops), (event) => this.#emit(event));
    });
  }

  /**
   * Writes what a shard serves as a PEFT adapter, or as a whole model. What is exported is out of the run's hands: a later
   * erasure does not reach it.
   */
  async export(options: ExportOptions): Promise<Export> {
    this.#assertOwnBase();
    return this.#guard(() => exportStack(this.#opened, options, (section) => this.#changes.run(section)));
  }

  /** Writes where a server of this run listens into the run's lock, for other processes to find. */
  async publishUrl(url: string): Promise<void> {
    await this.#opened.ledger.lock?.publish({ url });
  }

  /** Stops what is going on, waits until it has stopped, and gives everything back. Doing so twice is harmless. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#closing.abort(new UnlearnerError('unavailable', 'the run was closed'));
    await Promise.allSettled(this.#pending);
    const { ledger, ownsDevice, device } = this.#opened;
    try {
      this.#serving.stop();
    } finally {
      await ledger.close();
      if (ownsDevice) device.close();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Serves what the ledger says is active; nothing when that cannot be known. Only within `#changes`. */
  async #refresh(): Promise<void> {
    const { ledger } = this.#opened;
    try {
      const active = await ledger.activeStages();
      const version = await ledger.version();
      await this.#serving.place(active);
      this.#serving.switchTo(active, version);
      this.#emit({ type: 'version', ...version });
    } catch (error) {
      this.#serving.stop();
      throw error;
    }
  }

  /** Destroys what erasures before a crash left, and completes them. */
  async #recover(): Promise<void> {
    const { ledger } = this.#opened;
    await ledger.adapters.destroyAll(await ledger.pendingDestruction());
    for (const row of await ledger.erasures('in_progress')) await this.#finish(row);
    // Adapters that were stored but never published, and temporary files.
    await ledger.adapters.sweep(new Set((await ledger.activeStages()).map(({ weights }) => weights)));
  }

  /** Destroys the adapters that an erasure deactivated, in the store and on the device, and acknowledges it. */
  async #finish(
    {
      result: erased,
      requestDigest,
      receivedAt,
    }: Pick<ErasureRow, 'result' | 'requestDigest' | 'receivedAt'>,
    drained?: Promise<void>,
  ): Promise<Receipt> {
    const { ledger, device } = this.#opened;
    const files = erased.deactivated.map(({ weights }) => weights);
    // On the device they are zeroed in the order of its queue: after what is still computed with them.
    await Promise.all([ledger.adapters.destroyAll(files), device.idle(), drained]);
    const destroyedAt = Date.now();
    const receipt = receiptOf(erased, receivedAt, destroyedAt);
    const times = { receivedAt, acknowledgedAt: destroyedAt, destroyedAt };
    const statement = statementText(statementOf(this.#opened, erased, requestDigest, times));
    await ledger.acknowledge(erased.erasure, {
      acknowledgedAt: destroyedAt,
      destroyedAt,
      receipt,
      statement,
    });
    return receipt;
  }

  /** Brings erasures that failed half-way to their end. */
  async #finishAll(): Promise<void> {
    await this.#refresh();
    for (const row of await this.#opened.ledger.erasures('in_progress'))
      this.#emit({ type: 'erased', receipt: await this.#finish(row) });
    this.#isUnfinished = false;
  }

  #trainingRecords(): Promise<Map<string, RunRecord>> {
    if (this.#records) return this.#records;
    const reading = this.#readRecords();
    this.#records = reading;
    // Read again next time: the file may be put right.
    reading.catch(() => {
      this.#records = null;
    });
    return reading;
  }

  async #readRecords(): Promise<Map<string, RunRecord>> {
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

  /** Takes erased records out of memory, and stops what is learning from them. */
  #forget(gone: readonly GoneRecord[]): void {
    const keys = gone.map(({ key }) => key);
    for (const key of keys) {
      this.#loaded?.delete(key);
      this.#erasedMeanwhile?.add(key);
    }
    this.#worker.erased(keys, (plan) => affectedBy(plan, gone));
    const changed = 'records were erased during the verification; verify again';
    this.#erasure.abort(new UnlearnerError('unavailable', changed));
    this.#erasure = new AbortController();
  }

  /** What answering takes. */
  #answering() {
    const { base } = this.#opened;
    return { serving: this.#serving, erasures: this.#erasures, base, config: this.config };
  }

  /** With another base the stages mean something else, and no manifest says so. */
  #assertOwnBase(): void {
    const { drift, located } = this.#opened;
    if (drift?.split(', ').includes('base'))
      throw new UnlearnerError(
        'base',
        `${located.config.base}: changed since the run was created; put the old base back, or start a new run`,
      );
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
    this.#closing.signal.throwIfAborted();
    const pending = body();
    this.#pending.add(pending);
    try {
      return await pending;
    } catch (error) {
      throw translate(error);
    } finally {
      this.#pending.delete(pending);
    }
  }
}
