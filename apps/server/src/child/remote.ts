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
  type ToApp,
  type ToRun,
} from './protocol.ts';

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
  readonly labels: readonly string[];
  readonly task: RunConfig['task'];
  readonly reads: 'image' | 'text';
  readonly createdAt: number;
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
  readonly receipts?: () => Promise<readonly Receipt[]>;
  readonly evaluate?: () => Promise<{ accuracy?: number; version: number }>;
  readonly #port: Port;
  readonly #listeners = new Set<(event: UnlearnerEvent) => void>();
  readonly #waiting = new Map<number, Waiting>();
  #ids = 0;
  #isLost = false;

  private constructor(port: Port, { labels, task, reads, createdAt, has }: Facts) {
    this.#port = port;
    this.labels = labels;
    this.task = task;
    this.reads = reads;
    this.createdAt = createdAt;
    if (has.receipts) this.receipts = () => this.#call({ method: 'receipts', args: [] });
    if (has.evaluate) this.evaluate = () => this.#call({ method: 'evaluate', args: [] });
  }

  /**
   * Resolves when the other end has said what its run is. Throws its error when it could not open one, and another when it was lost first.
   * @param lost Aborts when the other end is gone: what waits for it then fails with 503, and so does all that follows. Nothing is served.
   */
  static open(port: Port, lost: AbortSignal): Promise<RemoteService> {
    return new Promise((resolve, reject) => {
      let service: RemoteService | undefined;
      const lose = () => {
        if (service !== undefined) service.#lose();
        else reject(new Error('the process that opens the run ended before it was open'));
      };
      if (lost.aborted) return lose();
      lost.addEventListener('abort', lose, { once: true });
      port.receive((received) => {
        const message = received as ToApp | Refusal;
        if (message.type === 'refusal') reject(errorOf(message.error));
        else if (message.type === 'open') {
          if (lost.aborted) return;
          service = new RemoteService(port, message.facts);
          service.#take(message);
          resolve(service);
        } else if (service !== undefined) service.#take(message);
      });
    });
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

  receiptFor(idempotencyKey: string): Promise<Receipt | null> {
    return this.#call({ method: 'receiptFor', args: [idempotencyKey] });
  }

  repairStanding(): Promise<RepairStanding> {
    return this.#call({ method: 'repairStanding', args: [] });
  }

  repair({ signal, turn, shards }: WorkOptions = {}): Promise<TrainingSummary> {
    const call: Call = { method: 'repair', args: [{ shards }, { turns: turn !== undefined }] };
    return this.#call(call, { turn, signal });
  }

  stageBackup({ signal, ...choice }: Omit<BackupChoice, 'onFile'> = {}): Promise<Backup> {
    return this.#call({ method: 'stageBackup', args: [choice] }, { signal });
  }

  history(limit: number): Promise<Omit<Point, 'accuracy'>[]> {
    return this.#call({ method: 'history', args: [limit] });
  }

  notes(prefix: string): Promise<Map<string, unknown>> {
    return this.#call({ method: 'notes', args: [prefix] });
  }

  note(name: string, value: unknown): Promise<void> {
    return this.#call({ method: 'note', args: [name, value] });
  }

  on(listener: (event: UnlearnerEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #lose(): void {
    this.#isLost = true;
    this.servedVersion = null;
    this.validSince = null;
    this.servedDepths = this.servedDepths.map(() => 0);
    for (const { reject } of this.#waiting.values()) reject(gone());
    this.#waiting.clear();
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
    if (this.#isLost) return Promise.reject(gone());
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(message.id, { resolve: resolve as Waiting['resolve'], reject, options });
      this.#send(message);
    });
  }

  #send(message: ToRun): void {
    if (!this.#isLost) this.#port.send(message);
  }

  #take(message: ToApp): void {
    if (this.#isLost) return;
    this.servedVersion = message.servedVersion;
    this.validSince = message.validSince;
    this.servedDepths = message.servedDepths;
    if (message.type === 'open') return;
    if (message.type === 'event') {
      for (const listener of [...this.#listeners]) listener(message.event);
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
    try {
      if (version === undefined) await options.turn?.();
      else await options.drain?.(version);
      this.#send({ type: 'told', id });
    } catch (error) {
      this.#send({ type: 'told', id, error: failureOf(error) });
    }
  }
}

function gone(): Problem {
  return new Problem(503, 'unavailable', 'the run is being opened again; try again', { retryAfter: 1 });
}
