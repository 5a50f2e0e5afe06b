import { affectedBy, type StagePlan } from '@s3t/algorithm';
import type { GoneRecord } from '@s3t/ledger';
import { batchSizes } from '@s3t/model';
import { Answering } from './answering.ts';
import type { Backup, BackupChoice } from './backup.ts';
import { Comparisons } from './comparisons.ts';
import type { RunConfig } from './config.ts';
import { costsOf } from './costs.ts';
import { type Active, Erasing } from './erasing.ts';
import { UnlearnerError } from './errors.ts';
import { Expecting } from './expectation.ts';
import { Exporting } from './export.ts';
import type { ContinueOptions } from './generation.ts';
import { confidencesOf, placementsOf } from './inspection.ts';
import { type Listener, Listeners } from './listeners.ts';
import { Mutex } from './mutex.ts';
import { type OpenedRun, type OpenOptions, openRun, translate } from './open-run.ts';
import { storedReceipt, unfinishedOf } from './receipts.ts';
import { noteRepair, repairStandingOf } from './repairs.ts';
import { RightOfWay } from './right-of-way.ts';
import { RunRecords } from './run-records.ts';
import { Serving } from './serving.ts';
import { groupsOf } from './setting.ts';
import type { SignedLog } from './signed-log.ts';
import type { StackConfidences } from './stack-confidences.ts';
import { StagedBackup } from './staged-backup.ts';
import { historyOf, statusOf } from './status.ts';
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
  UnfinishedErasure,
  Verification,
  WorkOptions,
} from './types.ts';
import { Unpublished } from './unpublished.ts';
import { type VerifyOptions, verifyRun } from './verify.ts';
import { Worker } from './work.ts';

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
  /** Resolves when the device is lost: nothing is served from then on, and nothing computed until the run is opened again. */
  readonly lost: Promise<Error>;
  readonly #records: RunRecords;
  readonly #serving: Serving;
  readonly #answering: Answering;
  readonly #erasing: Erasing;
  readonly #worker: Worker;
  readonly #staged: StagedBackup;
  readonly #exporting: Exporting;
  /** The version that listeners heard of last. */
  #announced: number | null = null;
  readonly #listeners: Listeners = new Listeners();
  readonly #emit: Listener = (event) => this.#listeners.emit(event);
  /** Erasures and publications, one after the other: each ends with the ensemble that its version names. */
  readonly #changes = new Mutex();
  readonly #erasures = new RightOfWay();
  readonly #work = new Mutex();
  readonly #closing = new AbortController();
  readonly #pending: Set<Promise<unknown>> = new Set();
  #closed: Promise<void> | null = null;
  readonly #comparisons = new Comparisons();

  private constructor(opened: OpenedRun) {
    this.#opened = opened;
    const { base, device, form, run, ledger, located, setting, folder } = opened;
    const groups = groupsOf(form, located.config);
    const emit = this.#emit;
    this.#records = new RunRecords(opened);
    const { ensemble } = located.config;
    this.#serving = new Serving({ base, form, run, store: ledger.adapters, groups, ensemble });
    this.#answering = new Answering(opened, this.#serving, this.#erasures);
    this.lost = this.#serving.stopWith(device.lost);
    this.#staged = new StagedBackup(opened, emit);
    const unpublished = new Unpublished(ledger);
    this.#exporting = new Exporting(opened, (section) => this.#changes.run(section));
    this.#erasing = new Erasing({
      opened,
      unpublished,
      staged: this.#staged,
      exporting: this.#exporting,
      expecting: new Expecting({
        ...{ opened, serving: this.#serving, erasures: this.#erasures, comparisons: this.#comparisons },
        ...{ records: this.#records, closing: this.#closing.signal },
      }),
      erasures: this.#erasures,
      changes: this.#changes,
      refresh: (now) => this.#refresh(now),
      forget: (gone) => this.#forget(gone),
      stopped: () => Promise.all([this.#worker.trainings.stopped, this.#comparisons.trainings.stopped]),
      forgetCommitted: async (commitments) => {
        if (commitments.size > 0) this.#forgetKeys(await this.#records.keysOf(commitments), () => true);
      },
      emit,
    });
    this.#worker = new Worker({
      ledger,
      unpublished,
      base,
      form,
      config: located.config,
      setting,
      sequences: run.sequences,
      records: () => this.#records.training(),
      meter: () => this.#records.meter(),
      erasures: this.#erasures,
      emit,
      exclusively: (section) => this.#changes.run(section),
      refresh: () => this.#refresh(),
      folder,
      completed: (isComplete) => noteRepair({ opened, changes: this.#changes, emit }, isComplete),
    });
  }

  /** Opens a run folder, or creates it from a configuration. Finishes what a crash left of an erasure. */
  static async open(options: OpenOptions): Promise<Unlearner> {
    const opened = await openRun(options);
    const unlearner = new Unlearner(opened);
    try {
      await unlearner.#erasing.recover();
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

  /** What the run does. */
  get task(): RunConfig['task'] {
    return this.config.task;
  }

  /** What an input is. */
  get reads(): 'image' | 'text' {
    return TASKS[this.config.task].reads;
  }

  /** Inputs that are computed together at most; more are computed in turns. */
  get batchSize(): number {
    return batchSizes(this.#opened.device).at(-1)!;
  }

  /** When the run was created, milliseconds since 1970. */
  get createdAt(): number {
    return this.#opened.run.createdAt;
  }

  /** The version that answers now; null when nothing is served. */
  get servedVersion(): number | null {
    return this.#serving.served?.version ?? null;
  }

  /**
   * The oldest version whose texts may still go on: of it and those since every stage is active. Null when nothing is served. Changes in
   * the tick in which an erasure's swap takes effect.
   */
  get validSince(): number | null {
    return this.#serving.validSince;
  }

  /** How deep each shard's stack is that answers now; 0 where a shard does not. */
  get servedDepths(): readonly number[] {
    const depths = new Array<number>(this.config.shards).fill(0);
    for (const { shard, depth } of this.#serving.served?.depths ?? []) depths[shard] = depth;
    return depths;
  }

  /** Listens to what happens; returns how to stop. A listener that throws stops nothing. */
  on(listener: Listener): () => void {
    return this.#listeners.add(listener);
  }

  /** Trains the stages that are missing. Stopped at any moment, by a signal or a crash, the same call goes on. */
  async train(options: WorkOptions = {}): Promise<TrainingSummary> {
    const { drift, located } = this.#opened;
    if (drift !== null)
      throw new UnlearnerError(
        'base',
        `${located.file}: ${drift} changed since the run was created, so its stages cannot be trained again; start a new run`,
      );
    const signal = this.#untilClosed(options.signal);
    return this.#guard(async () => {
      // Said before anything is trained, and where nothing is missing, too.
      await this.#records.meter();
      return this.#work.run(() => this.#worker.run({ ...options, signal }));
    });
  }

  /** Retrains on the records that remain what erasures deactivated: the same loop as training. */
  async repair(options: WorkOptions = {}): Promise<TrainingSummary> {
    return this.train(options);
  }

  /** What waits for a repair, and when the configuration's policy wants one. */
  async repairStanding(): Promise<RepairStanding> {
    return this.#guard(() => repairStandingOf(this.#opened));
  }

  /** Answers inputs from the active stages. @throws UnlearnerError `unavailable` when no shard has one */
  async predict(inputs: readonly Input[]): Promise<Prediction> {
    if (inputs.length === 0) throw new UnlearnerError('usage', 'inputs: there are none');
    this.#assertOwnBase();
    return this.#guard(() => this.#answering.predict(inputs));
  }

  /**
   * Continues a text, of a run whose task is causal-lm: piece by piece, as tokens become certain. Texts go on together, `textSlots` of them
   * at most; the others wait. A text has the same tokens however many go on with it.
   * @param input a prompt; the fields of a record but for its response; or a conversation, where the base has a chat template
   * @throws UnlearnerError `usage` naming what is wrong; `unavailable` when nothing is served, or an erasure deactivates stages
   */
  async *generate(
    input: Prompt,
    options: ContinueOptions = {},
  ): AsyncGenerator<GenerationPiece, void, undefined> {
    this.#assertOwnBase();
    const signal = this.#untilClosed(options.signal);
    const pieces = this.#answering.continueText(input, { ...options, signal });
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
    return this.#guard(async () => this.#answering.evaluate(await this.#records.evaluation()));
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
    return this.#guard(() => placementsOf(this.#opened, this.#records));
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
    const [opened, serving] = [this.#opened, this.#serving];
    const parts = { opened, serving, erasures: this.#erasures, data: this.#records };
    return this.#guard(() =>
      this.#comparisons.run(() => confidencesOf(parts, ids, which, () => this.#comparisons.signal)),
    );
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
    return this.#guard(() => this.#erasing.erase(what, { ...options, receivedAt }));
  }

  /**
   * Answers made-up records, in batches of every size and length, and goes through an erasure that is rolled back: after opening, the first
   * real ones find their code compiled and take no longer than those after them.
   */
  async rehearse(): Promise<void> {
    await this.#guard(async () => {
      const both = [this.#answering.rehearse(), this.#erasing.rehearse()];
      await Promise.allSettled(both); // closing must not meet one that goes on when the other has failed
      await Promise.all(both);
    });
  }

  /** The receipt of an erasure, null when there is none or it is not finished. */
  async receipt(erasure: string): Promise<Receipt | null> {
    // PostgreSQL fails at a text with a zero in it, so there is no such id.
    if (erasure.includes('\0')) return null;
    return storedReceipt(await this.#opened.ledger.erasure(erasure));
  }

  /** Receipts of the newest `limit` erasures that are finished, oldest first. */
  async receipts(limit = 10_000): Promise<Receipt[]> {
    const { ledger } = this.#opened;
    return this.#guard(async () => (await ledger.receipts(limit)).map((row) => storedReceipt(row)!));
  }

  /** Erasures that are in force and not acknowledged: what learnt from their records answers nothing, and is being destroyed. */
  async unfinished(): Promise<UnfinishedErasure[]> {
    return this.#guard(async () => (await this.#opened.ledger.erasures('in_progress')).map(unfinishedOf));
  }

  /** The receipt of the erasure that was asked for under this idempotency key, null when there is none or it is not finished. */
  async receiptFor(idempotencyKey: string): Promise<Receipt | null> {
    return storedReceipt(await this.#opened.ledger.erasureFor(idempotencyKey));
  }

  /** The log that holds the run's erasures, signed: receipts as files, and what auditors ask of it. */
  get log(): SignedLog {
    return this.#opened.log;
  }

  /** Where the run stands, by its ledger, whether or not anything is served. Costs little, however many records there are. */
  async version(): Promise<{ version: number; manifest: string }> {
    return this.#guard(() => this.#opened.ledger.version());
  }

  /** How deep each shard's stack was in the newest `limit` versions, oldest first. `at` is milliseconds since 1970. */
  async history(limit: number): Promise<{ at: number; version: number; depths: number[] }[]> {
    return this.#guard(() => historyOf(this.#opened, limit));
  }

  /** What a service keeps over a restart, beside the log: values by names that begin with `prefix`. */
  async notes(prefix: string): Promise<Map<string, unknown>> {
    return this.#guard(() => this.#opened.ledger.notes(prefix));
  }

  /** Keeps a value under a name; null takes it away. Durable once it resolves. */
  async note(name: string, value: unknown): Promise<void> {
    await this.#guard(() => this.#opened.ledger.note(name, value));
  }

  /** The run in full. After an erasure it reads the records of the slices that were touched. */
  async status(): Promise<Status> {
    return this.#guard(async () => statusOf(this.#opened, await this.#worker.wanted()));
  }

  /**
   * Holds the run against its data, its log and, on request, against training that never saw what was erased.
   * @throws UnlearnerError `unavailable` when records are erased meanwhile
   */
  async verify(options: VerifyOptions = {}): Promise<Verification> {
    const [opened, records, emit] = [this.#opened, this.#records, this.#emit];
    const parts = { opened, records, emit, changes: this.#changes, comparisons: this.#comparisons };
    const signal = this.#untilClosed(options.signal);
    return this.#guard(() => verifyRun(parts, { ...options, signal }));
  }

  /**
   * Writes what a shard serves as a PEFT adapter, or as a whole model. What is exported is out of the run's hands: a later
   * erasure does not reach it. One that comes before it is written ends it, where it deactivates a part of it.
   */
  async export(options: ExportOptions): Promise<Export> {
    this.#assertOwnBase();
    const signal = this.#untilClosed(options.signal);
    return this.#guard(() => this.#exporting.make({ ...options, signal }));
  }

  /**
   * Writes a backup of this moment into the run folder, as `backup.staged`, to be moved away: an erasure, another backup, closing and opening the
   * run remove it. Answers and training go on; an erasure waits for no more than a copy of the database.
   * @throws UnlearnerError `usage` for a PostgreSQL store; `unavailable` when records are erased meanwhile, or another backup is made
   */
  async stageBackup(choice: BackupChoice = {}): Promise<Backup> {
    return this.#guard(() => this.#staged.make(choice));
  }

  /** Writes where a server of this run listens into the run's lock, and in which process, for other processes to find. */
  async publishUrl(url: string, server: number = process.pid): Promise<void> {
    await this.#opened.ledger.lock?.publish({ url, server });
  }

  /** Stops what is going on, waits until it has stopped, and gives everything back. Doing so twice is harmless. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#closing.abort(new UnlearnerError('unavailable', 'the run was closed'));
    await this.#staged.drop().catch(() => {});
    await Promise.allSettled(this.#pending);
    const { ledger, ownsDevice, device } = this.#opened;
    try {
      await this.#worker.close();
      this.#serving.stop();
    } finally {
      await ledger.close();
      if (ownsDevice) device.close();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Serves what is active, as the ledger says or has just said; nothing when that cannot be known. Only within `#changes`. */
  async #refresh(now?: Active): Promise<void> {
    const { ledger } = this.#opened;
    try {
      const active = now?.active ?? (await ledger.activeStages());
      const version = now?.version ?? (await ledger.version());
      await this.#serving.place(active);
      this.#serving.switchTo(active, version);
      // An erasure of what nothing had learnt from changes no version, and one that failed half-way is switched to again.
      if (version.version !== this.#announced) this.#emit({ type: 'version', ...version });
      this.#announced = version.version;
    } catch (error) {
      this.#serving.stop();
      throw error;
    }
  }

  /** Takes erased records out of memory, and stops what is learning from them. */
  #forget(gone: readonly GoneRecord[]): boolean {
    const keys = gone.map(({ key }) => key);
    return this.#forgetKeys(keys, (plan) => affectedBy(plan, gone));
  }

  #forgetKeys(keys: readonly string[], touches: (plan: StagePlan) => boolean): boolean {
    this.#records.forget(keys);
    const wasLearnt = this.#worker.erased(keys, touches);
    const wasCompared = this.#comparisons.erased();
    return wasLearnt || wasCompared;
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

  /** Aborted when the run is closed, too. */
  #untilClosed(signal: AbortSignal | undefined): AbortSignal {
    return AbortSignal.any([this.#closing.signal, ...(signal ? [signal] : [])]);
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
