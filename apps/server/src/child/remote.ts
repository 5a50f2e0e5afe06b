import type {
  Backup,
  BackupChoice,
  ContinueOptions,
  EraseOptions,
  ErasureTarget,
  GenerationPiece,
  Input,
  Prediction,
  Prompt,
  Receipt,
  RepairStanding,
  RunConfig,
  Status,
  TrainingSummary,
  UnfinishedErasure,
  UnlearnerEvent,
  WorkOptions,
} from '@s3t/unlearner';
import type { Point } from '../history.ts';
import { Problem } from '../problem.ts';
import type { Log, Service } from '../service.ts';
import {
  type Call,
  errorOf,
  type Facts,
  failureOf,
  type Port,
  type Refusal,
  type Standing,
  type ToApp,
  type ToRun,
} from './protocol.ts';

/** So often a repair is begun again after its process was lost. */
const MOST_LOSSES = 3;

interface Waiting {
  resolve(value: unknown): void;
  reject(error: unknown): void;
  /** What the other end asks of this one while it works. */
  options: { drain?: EraseOptions['drain']; turn?: WorkOptions['turn'] };
}

/**
 * A run that another process or thread holds, behind a pipe.
 *
 * Why no answer of an older ensemble gets past an acknowledgement: the pipe keeps order, and every message says which version was
 * served when it was sent. The run sends the new version before it asks to drain. So an answer of the old one is either taken
 * before the version moves here, and then drained like any other, or after, and then whoever sends answers on sees a version that
 * is not `servedVersion` and drops it.
 */
export class RemoteService implements Service {
  servedVersion: number | null = null;
  validSince: number | null = null;
  servedDepths: readonly number[] = [];
  readonly log: Log = {
    publicKey: () => this.#call({ method: 'log.publicKey', args: [] }),
    sign: (data) => this.#call({ method: 'log.sign', args: [data] }),
    checkpoint: () => this.#call({ method: 'log.checkpoint', args: [] }),
    consistency: (from, to) => this.#call({ method: 'log.consistency', args: [from, to] }),
    receiptFile: (erasure) => this.#call({ method: 'log.receiptFile', args: [erasure] }),
  };
  receipts?: () => Promise<readonly Receipt[]>;
  evaluate?: () => Promise<{ accuracy?: number; version: number }>;
  readonly #listeners = new Set<(event: UnlearnerEvent) => void>();
  readonly #lostListeners = new Set<() => Promise<void>>();
  readonly #waiting = new Map<number, Waiting>();
  /** Null while the other end is gone. */
  #port: Port | null = null;
  #facts: Facts | null = null;
  #url: string | null = null;
  #ids = 0;
  /** While the other end is gone: resolves when it is back, rejects when it will not be. */
  #back: PromiseWithResolvers<void> | null = null;
  #isEnded = false;

  /**
   * Takes a run from the other end of `port`, for the first time or in the place of one that was lost. Resolves when that end has said what its
   * run is. Throws its error when it could not open one, and another when it was lost first.
   * @param lost Aborts when the other end is gone: what waits for it then fails with 503, and so does all that follows. Nothing is served.
   */
  connect(port: Port, lost: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const lose = () => {
        if (this.#port === port) this.#lose();
        else reject(new Error('the process that opens the run ended before it was open'));
      };
      if (lost.aborted) return lose();
      lost.addEventListener('abort', lose, { once: true });
      port.receive((received) => {
        const message = received as ToApp | Refusal;
        if (message.type === 'refusal') reject(errorOf(message.error));
        else if (message.type !== 'open') this.#take(port, message);
        else if (!lost.aborted) this.#begin(port, message).then(resolve, reject);
      });
    });
  }

  /** Gives up on what waits until the other end is there again. */
  end(): void {
    this.#isEnded = true;
    this.#back?.reject(gone());
  }

  get labels(): readonly string[] {
    return this.#known.labels;
  }

  get task(): RunConfig['task'] {
    return this.#known.task;
  }

  get reads(): 'image' | 'text' {
    return this.#known.reads;
  }

  get config(): Facts['config'] {
    return this.#known.config;
  }

  get batchSize(): number | undefined {
    return this.#known.batchSize;
  }

  get createdAt(): number {
    return this.#known.createdAt;
  }

  get #known(): Facts {
    if (this.#facts === null) throw new Error('no run was opened');
    return this.#facts;
  }

  predict(inputs: readonly Input[]): Promise<Prediction> {
    return this.#call({ method: 'predict', args: [inputs] });
  }

  async *generate(
    prompt: Prompt,
    { signal, ...options }: ContinueOptions = {},
  ): AsyncGenerator<GenerationPiece, void, undefined> {
    const id = ++this.#ids;
    const cancel = () => this.#send({ type: 'cancel', id });
    signal?.throwIfAborted();
    this.#send({ type: 'generate', id, prompt, options });
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      for (;;) {
        // A text that was cancelled is gone at the other end: nobody would answer.
        signal?.throwIfAborted();
        const { value, done } = await this.#ask<IteratorResult<GenerationPiece, void>>({ type: 'next', id });
        if (done) return;
        yield value;
      }
    } finally {
      signal?.removeEventListener('abort', cancel);
      this.#waiting.delete(id);
      cancel();
    }
  }

  version(): Promise<{ version: number; manifest: string }> {
    return this.#call({ method: 'version', args: [] });
  }

  status(): Promise<Status> {
    return this.#call({ method: 'status', args: [] });
  }

  erase(target: ErasureTarget, { drain, ...options }: EraseOptions = {}): Promise<Receipt> {
    return this.#call(
      { method: 'erase', args: [target, options, { drains: drain !== undefined }] },
      { drain },
    );
  }

  receipt(erasure: string): Promise<Receipt | null> {
    return this.#call({ method: 'receipt', args: [erasure] });
  }

  unfinished(): Promise<readonly UnfinishedErasure[]> {
    return this.#call({ method: 'unfinished', args: [] });
  }

  receiptFor(idempotencyKey: string): Promise<Receipt | null> {
    return this.#call({ method: 'receiptFor', args: [idempotencyKey] });
  }

  repairStanding(): Promise<RepairStanding> {
    return this.#call({ method: 'repairStanding', args: [] });
  }

  /** One that loses the other end goes on when it is back: what was published stays. */
  repair({ signal, turn, shards }: WorkOptions = {}): Promise<TrainingSummary> {
    const call: Call = { method: 'repair', args: [{ shards }, { turns: turn !== undefined }] };
    return this.#again(() => this.#call(call, { turn, signal }), signal);
  }

  stageBackup({ signal, ...choice }: Omit<BackupChoice, 'onFile'> = {}): Promise<Backup> {
    return this.#call({ method: 'stageBackup', args: [choice] }, { signal });
  }

  history(limit: number): Promise<Omit<Point, 'accuracy'>[]> {
    return this.#call({ method: 'history', args: [limit] });
  }

  /** As `note`, it waits for the other end while that is gone. */
  notes(prefix: string): Promise<Map<string, unknown>> {
    return this.#again(() => this.#call({ method: 'notes', args: [prefix] }));
  }

  /** Keeping a value twice is keeping it, so it is asked for again where nobody knows whether it was kept. */
  note(name: string, value: unknown): Promise<void> {
    return this.#again(() => this.#call({ method: 'note', args: [name, value] }));
  }

  /** Every process that holds the run from now on says so. */
  async publishUrl(url: string): Promise<void> {
    this.#url = url;
    await this.#call({ method: 'publishUrl', args: [url, process.pid] });
  }

  onLost(listener: () => Promise<void>): () => void {
    this.#lostListeners.add(listener);
    return () => this.#lostListeners.delete(listener);
  }

  on(listener: (event: UnlearnerEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #begin(port: Port, message: Extract<ToApp, { type: 'open' }>): Promise<void> {
    const { facts } = message;
    const isFirst = this.#facts === null;
    this.#facts = facts;
    this.#port = port;
    this.#stand(message);
    this.receipts = facts.has.receipts ? () => this.#call({ method: 'receipts', args: [] }) : undefined;
    this.evaluate = facts.has.evaluate ? () => this.#call({ method: 'evaluate', args: [] }) : undefined;
    if (this.#url !== null) await this.publishUrl(this.#url);
    if (!isFirst) await this.#catchUp();
    this.#back?.resolve();
    this.#back = null;
  }

  /** Tells of the version that opening the run left: an erasure that was cut off is finished there. */
  async #catchUp(): Promise<void> {
    const version = await this.version();
    // Where another came meanwhile, it was told of.
    if (this.servedVersion === null || this.servedVersion === version.version)
      this.#tellListeners({ type: 'version', ...version });
  }

  #lose(): void {
    this.#port = null;
    this.servedVersion = null;
    this.validSince = null;
    this.servedDepths = this.servedDepths.map(() => 0);
    this.#back ??= awaited();
    for (const { reject } of this.#waiting.values()) reject(gone());
    this.#waiting.clear();
  }

  /** Resolves when whoever is told of a loss has let go of what the lost end had given. */
  async settle(): Promise<void> {
    await Promise.all([...this.#lostListeners].map((listener) => listener()));
  }

  /** Does `work`, and again after the other end was lost and is back, a few times. */
  async #again<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    for (let losses = 0; ; losses++) {
      try {
        return await work();
      } catch (error) {
        // What loses it each time does so of itself.
        if (!(error instanceof Gone) || losses === MOST_LOSSES || this.#isEnded) throw error;
        if (this.#back !== null) await orAborted(this.#back.promise, signal);
      }
    }
  }

  async #call<T>(call: Call, options: Waiting['options'] & { signal?: AbortSignal } = {}): Promise<T> {
    const { signal, ...asked } = options;
    signal?.throwIfAborted();
    const id = ++this.#ids;
    const cancel = () => this.#send({ type: 'cancel', id });
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      return await this.#ask<T>({ type: 'call', id, call }, asked);
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  #ask<T>(message: ToRun, options: Waiting['options'] = {}): Promise<T> {
    if (this.#port === null) return Promise.reject(gone());
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(message.id, { resolve: resolve as Waiting['resolve'], reject, options });
      this.#send(message);
    });
  }

  #send(message: ToRun): void {
    this.#port?.send(message);
  }

  #stand({ servedVersion, validSince, servedDepths }: Standing): void {
    this.servedVersion = servedVersion;
    this.validSince = validSince;
    this.servedDepths = servedDepths;
  }

  #tellListeners(event: UnlearnerEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
  }

  #take(port: Port, message: Exclude<ToApp, { type: 'open' }>): void {
    if (port !== this.#port) return;
    this.#stand(message);
    if (message.type === 'event') {
      this.#tellListeners(message.event);
    } else if (message.type === 'ask') {
      void this.#tell(message.id, message.drain, this.#waiting.get(message.call)?.options);
    } else {
      const waiting = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (message.type === 'failure') waiting?.reject(errorOf(message.error));
      else waiting?.resolve(message.type === 'piece' ? message.piece : message.value);
    }
  }

  /** Does what the other end waits for, and says so. */
  async #tell(id: number, version: number | undefined, options: Waiting['options'] = {}): Promise<void> {
    const port = this.#port;
    // Whoever is there in its place counts its own questions, from 1 as well.
    const tell = (message: ToRun) => {
      if (port === this.#port) this.#send(message);
    };
    try {
      if (version === undefined) await options.turn?.();
      else await options.drain?.(version);
      tell({ type: 'told', id });
    } catch (error) {
      tell({ type: 'told', id, error: failureOf(error) });
    }
  }
}

/** The other end is not there. */
class Gone extends Problem {}

function gone(): Gone {
  return new Gone(503, 'unavailable', 'the run is being opened again; try again', { retryAfter: 1 });
}

/** A promise that others settle, and that nobody has to wait for. */
function awaited(): PromiseWithResolvers<void> {
  const promise = Promise.withResolvers<void>();
  promise.promise.catch(() => {});
  return promise;
}

async function orAborted(promise: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return promise;
  signal.throwIfAborted();
  const end = awaited();
  const abort = () => end.reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    await Promise.race([promise, end.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
