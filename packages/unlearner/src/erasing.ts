import { type ActiveStage, type ErasureRow, type GoneRecord, LedgerError } from '@s3t/ledger';
import { statementText } from '@s3t/ledger/log';
import type { RunConfig } from './config.ts';
import { PhaseTimes } from './erasure-phases.ts';
import { erasureRequest, namedError } from './erasure-request.ts';
import { UnlearnerError } from './errors.ts';
import type { Expectation, Expecting } from './expectation.ts';
import type { Exporting } from './export.ts';
import type { Mutex } from './mutex.ts';
import { type OpenedRun, sweepCopies } from './open-run.ts';
import { receiptOf, storedReceipt } from './receipts.ts';
import type { RightOfWay } from './right-of-way.ts';
import type { StagedBackup } from './staged-backup.ts';
import { statementOf } from './statement.ts';
import type { EraseOptions, ErasureTarget, Receipt, UnlearnerEvent } from './types.ts';
import type { Unpublished } from './unpublished.ts';

/** The stages that are active, and the version that they make. */
export interface Active {
  active: readonly ActiveStage[];
  version: { version: number; manifest: string };
}

/** The first calls of a function are slow; after 8 the first erasure under load still took half as long again as the others. */
const REHEARSALS = 24;

export interface ErasingParts {
  opened: OpenedRun;
  /** Erasures go before answers and training steps. */
  erasures: RightOfWay;
  /** Erasures and publications, one after the other. */
  changes: Mutex;
  /** Serves what is active now: that, or what the ledger says. Called within `changes`. */
  refresh: (now?: Active) => Promise<void>;
  /** Takes erased records out of memory, and stops what is learning from them. Synchronous. Returns whether anything was. */
  forget: (gone: readonly GoneRecord[]) => boolean;
  /** The same for erasures of which only the commitments are known. */
  forgetCommitted: (commitments: ReadonlySet<string>) => Promise<void>;
  /** Resolves when what they have stopped was zeroed in the queue of the device; at once where that was nothing. */
  stopped: () => Promise<unknown>;
  emit: (event: UnlearnerEvent) => void;
  /** A backup that is being made, or waits in the run folder. */
  staged: StagedBackup;
  /** Exports that are being written. */
  exporting: Exporting;
  unpublished: Unpublished;
  /** For dry runs that evaluate. */
  expecting: Expecting;
}

/** Erasures from the request to the receipt, and bringing to their end those that a crash or a failure left half-way. */
export class Erasing {
  readonly #parts: ErasingParts;
  /** Whether an erasure that the ledger holds has failed to take effect in full. */
  #isUnfinished = false;
  /** Whether a transaction failed of which it is not known whether the ledger holds its erasure. */
  #isUnknown = false;

  constructor(parts: ErasingParts) {
    this.#parts = parts;
  }

  /** Erases records; see `Unlearner.erase`. */
  async erase(
    target: ErasureTarget,
    options: EraseOptions & Required<Pick<EraseOptions, 'receivedAt'>>,
  ): Promise<Receipt> {
    const { opened, erasures, changes, expecting } = this.#parts;
    let measure = null as (() => Promise<Expectation>) | null;
    const expect = (left: Active) => {
      measure = expecting.of(left);
    };
    if (options.evaluate) assertEvaluates(options, opened.located.config);
    const receipt = await erasures.hold(() =>
      changes.run(() => this.#erase(target, options, options.evaluate ? expect : undefined)),
    );
    // Other erasures do not wait for it.
    return measure ? { ...receipt, ...(await measure()) } : receipt;
  }

  async #erase(
    target: ErasureTarget,
    {
      dryRun = false,
      idempotencyKey,
      receivedAt,
      drain,
    }: EraseOptions & Required<Pick<EraseOptions, 'receivedAt'>>,
    expect: ((left: Active) => void) | undefined,
  ): Promise<Receipt> {
    const { opened, refresh, forget, emit } = this.#parts;
    const { ledger, located } = opened;
    if (this.#isUnfinished || this.#isUnknown) await this.#finishAll();
    const request = await erasureRequest(target, { ledger, field: located.config.data.subject });
    const { requestDigest } = request;
    const phases = new PhaseTimes();
    const { gone, active, ...erased } = await phases
      .measure('transaction', () => ledger.erase({ ...request, receivedAt, idempotencyKey, dryRun }))
      .catch((error) => {
        // A database that fails in a transaction does not say whether it holds what was asked.
        if (!(error instanceof LedgerError) || error.code === 'database') this.#isUnknown = true;
        throw namedError(error, target);
      });
    if (erased.dryRun) {
      if (active) expect?.({ active, version: erased.after });
      return receiptOf(erased, receivedAt, Date.now());
    }
    if (erased.repeated) {
      const receipt = storedReceipt(await ledger.erasure(erased.erasure));
      return { ...receipt!, repeated: true };
    }
    this.#isUnfinished = true;
    const wasLearnt = forget(gone);
    // The ensemble first: from the next line on no answer comes from what was erased.
    await phases.measure('swap', () => refresh(active ? { active, version: erased.after } : undefined));
    const drained = drain && phases.measure('drain', () => drain(erased.after.version));
    // Where nothing of it lies on the device, what is computed there is nothing to wait for.
    const isOnDevice = wasLearnt || erased.deactivated.length > 0;
    const row = { id: erased.erasure, result: erased, requestDigest, receivedAt };
    const receipt = await this.#finish(row, { drained, phases, isOnDevice });
    this.#isUnfinished = false;
    emit({ type: 'erased', receipt, phases: phases.all });
    return receipt;
  }

  /** Goes through the erasure of a record some times, and takes it back. */
  async rehearse(): Promise<void> {
    const { opened, changes } = this.#parts;
    const { ledger } = opened;
    await changes.run(async () => {
      for await (const { key } of ledger.records()) {
        await ledger.rehearse(key, REHEARSALS);
        return;
      }
    });
  }

  /** Destroys what erasures before a crash left, and completes them. */
  async recover(): Promise<void> {
    const { ledger } = this.#parts.opened;
    await this.#parts.staged.drop();
    await sweepCopies(ledger.folder);
    await ledger.adapters.destroyAll(await ledger.pendingDestruction());
    for (const row of await ledger.erasures('in_progress')) await this.#finish(row);
    // Temporary files, too.
    await this.#parts.unpublished.sweep();
  }

  /** Destroys the adapters that an erasure deactivated, in the store and on the device, and acknowledges it. */
  async #finish(
    row: Pick<ErasureRow, 'id' | 'result' | 'requestDigest' | 'receivedAt'>,
    {
      drained,
      phases = new PhaseTimes(),
      isOnDevice = true,
    }: { drained?: Promise<void>; phases?: PhaseTimes; isOnDevice?: boolean } = {},
  ): Promise<Receipt> {
    const { result: erased, requestDigest, receivedAt } = row;
    const { opened, staged, stopped, exporting, unpublished } = this.#parts;
    const { ledger, device } = opened;
    const files = erased.deactivated.map(({ weights }) => weights);
    // On the device they are zeroed in the order of its queue: after what is still computed with them. What is half
    // trained is zeroed by whoever trains it, before its next step.
    const offDevice = async () => {
      await Promise.all([exporting.drop(files), isOnDevice && stopped()]);
      if (isOnDevice) await device.idle();
    };
    const destroyed = phases.measure('destroy', () =>
      Promise.all([
        ledger.adapters.destroyAll(files),
        offDevice(),
        staged.drop(),
        unpublished.sweepLeft(),
        ledger.journal(row),
      ]),
    );
    await Promise.all([destroyed, drained]);
    const destroyedAt = Date.now();
    const receipt = receiptOf(erased, receivedAt, destroyedAt);
    const times = { receivedAt, acknowledgedAt: destroyedAt, destroyedAt };
    const statement = statementText(statementOf(opened, erased, requestDigest, times));
    await phases.measure('receipt', () =>
      ledger.acknowledge(erased.erasure, { acknowledgedAt: destroyedAt, destroyedAt, receipt, statement }),
    );
    return receipt;
  }

  /** Brings erasures that failed half-way to their end. */
  async #finishAll(): Promise<void> {
    const { opened, refresh, forgetCommitted, emit } = this.#parts;
    // Where the ledger cannot be read, what is served stays: nothing was acknowledged.
    const rows = await opened.ledger.erasures('in_progress');
    if (this.#isUnknown) await forgetCommitted(new Set(rows.flatMap(({ result }) => result.commitments)));
    await refresh();
    for (const row of rows) emit({ type: 'erased', receipt: await this.#finish(row) });
    this.#isUnfinished = false;
    this.#isUnknown = false;
  }
}

function assertEvaluates({ dryRun }: EraseOptions, { data }: RunConfig): void {
  if (!dryRun) throw new UnlearnerError('usage', 'evaluate: only what a dry run would leave is measured');
  if (data.eval === undefined)
    throw new UnlearnerError(
      'usage',
      'evaluate: the configuration of this run names no data.eval to measure with',
    );
}
