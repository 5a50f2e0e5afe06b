import type { Input, LabelScore, Prediction } from '@s3t/unlearner';
import { Problem, problemOf } from './problem.ts';
import type { Tracing, Turn } from './tracing.ts';

/** One request's share of a prediction. */
export interface Answer {
  version: number;
  manifest: string;
  answers: readonly (readonly LabelScore[])[];
}

interface Job {
  inputs: readonly Input[];
  signal: AbortSignal | undefined;
  /** When it is answered at the latest, by `performance.now()`. */
  due: number;
  turn: Turn | undefined;
  resolve(answer: Answer): void;
  reject(error: unknown): void;
}

export interface BatcherOptions {
  predict(inputs: readonly Input[]): Promise<Prediction>;
  /** Most inputs of a request. */
  maxBatch: number;
  /** Inputs of one call of `predict`, where requests allow it: as many as are computed together. Default `maxBatch`. */
  batch?: number | undefined;
  /** Most inputs that wait. */
  maxQueue: number;
  /** How long a request may take, milliseconds: one that has no answer by then is told so, and leaves the queue. */
  deadlineMs: number;
  /** Told the size of every batch. */
  onBatch?: (inputs: number) => void;
  /** Where spans are taken. */
  tracing?: Tracing | undefined;
}

/** A second batch waits behind the one that is computed: the device goes on while answers are written and requests read. */
const MOST_ASKED = 2;

/**
 * What arrives while a batch is computed waits and goes together into the next, which is asked for as soon as it is full, and else when
 * nothing is computed. First come, first served: a request is never split and never overtaken. Answers are not kept: they leave the
 * batcher in the tick in which `predict` resolves.
 */
export class Batcher {
  readonly #options: BatcherOptions;
  #queue: Job[] = [];
  #waiting = 0;
  /** Batches that `predict` has not answered. */
  #asked = 0;
  /** Not answered yet: in the queue, or being computed. */
  readonly #open: Set<Job> = new Set();
  /** One for all of them, and when it wakes: when the first may be late. */
  #timer: ReturnType<typeof setTimeout> | undefined;
  #wakesAt = Number.POSITIVE_INFINITY;
  readonly #idle = Promise.withResolvers<void>();
  #closed = false;

  constructor(options: BatcherOptions) {
    this.#options = options;
  }

  /** Inputs in the queue. */
  get waiting(): number {
    return this.#waiting;
  }

  /**
   * Answers for `inputs` (at most `maxBatch`), in order. Throws 429 when the queue is full, and 503 once closed or when it takes too long.
   * @param since when the request's time began, by `performance.now()`
   */
  run(inputs: readonly Input[], signal?: AbortSignal, since: number = performance.now()): Promise<Answer> {
    if (this.#closed) throw new Problem(503, 'closing', 'the server is shutting down', { retryAfter: 5 });
    // An idle batcher takes a request of any size it can run; only waiting is limited.
    if (this.#asked > 0 && this.#waiting + inputs.length > this.#options.maxQueue) {
      throw new Problem(429, 'queue-full', 'too many predictions are waiting; try again', { retryAfter: 1 });
    }
    return new Promise((resolve, reject) => {
      const turn = this.#options.tracing?.wait(inputs.length);
      const job = { inputs, signal, due: since + this.#options.deadlineMs, turn, resolve, reject };
      this.#queue.push(job);
      this.#open.add(job);
      this.#wakeAt(job.due);
      this.#waiting += inputs.length;
      this.#ask();
    });
  }

  /** Takes no more, and resolves when everything taken has been answered. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#asked > 0) await this.#idle.promise;
    clearTimeout(this.#timer);
  }

  get #batch(): number {
    return this.#options.batch ?? this.#options.maxBatch;
  }

  #ask(): void {
    while (this.#asked === 0 || (this.#asked < MOST_ASKED && this.#waiting >= this.#batch)) {
      const jobs = this.#take();
      if (jobs.length === 0) break;
      this.#asked++;
      void this.#answer(jobs).then(() => {
        // In a new task: the answers just given are written to their sockets first, and requests that have arrived meanwhile get to join.
        setTimeout(() => {
          this.#asked--;
          this.#ask();
        }, 0);
      });
    }
    if (this.#closed && this.#asked === 0) this.#idle.resolve();
  }

  #take(): Job[] {
    const jobs: Job[] = [];
    let size = 0;
    for (let job = this.#queue[0]; job !== undefined; job = this.#queue[0]) {
      const gone = job.signal?.aborted === true;
      if (!gone && jobs.length > 0 && size + job.inputs.length > this.#batch) break;
      this.#queue.shift();
      if (gone) {
        this.#leave(job);
        this.#reject(job, new Problem(400, 'gone', 'the client went away'));
      } else {
        this.#waiting -= job.inputs.length;
        jobs.push(job);
        size += job.inputs.length;
      }
    }
    return jobs;
  }

  /** Tells those that are late so. A batch that is computed with them goes on; the others wait for it. */
  #endLate(): void {
    const now = performance.now();
    this.#wakesAt = Number.POSITIVE_INFINITY;
    for (const job of this.#open) {
      if (job.due > now) this.#wakeAt(job.due);
      else this.#reject(job, new Problem(503, 'deadline', 'it took too long', { retryAfter: 5 }));
    }
    this.#queue = this.#queue.filter((job) => {
      if (this.#open.has(job)) return true;
      this.#leave(job);
      return false;
    });
  }

  #wakeAt(due: number): void {
    if (due >= this.#wakesAt) return;
    clearTimeout(this.#timer);
    this.#wakesAt = due;
    // Timers may come a little early.
    this.#timer = setTimeout(() => this.#endLate(), due - performance.now() + 1);
  }

  #reject(job: Job, error: unknown): void {
    this.#open.delete(job);
    job.reject(error);
  }

  /** Takes note that nobody waits any more for what was in the queue. */
  #leave({ inputs, turn }: Job): void {
    this.#waiting -= inputs.length;
    if (turn) this.#options.tracing?.leave(turn);
  }

  async #answer(jobs: readonly Job[]): Promise<void> {
    let prediction: Prediction;
    try {
      const inputs = jobs.flatMap((job) => job.inputs);
      this.#options.onBatch?.(inputs.length);
      const { predict, tracing } = this.#options;
      const turns = jobs.flatMap(({ turn }) => turn ?? []);
      prediction = await (tracing ? tracing.batch(turns, () => predict(inputs)) : predict(inputs));
    } catch (error) {
      await this.#fail(jobs, error);
      return;
    }
    const { version, manifest } = prediction;
    let at = 0;
    for (const job of jobs) {
      const next = at + job.inputs.length;
      this.#open.delete(job);
      job.resolve({ version, manifest, answers: prediction.answers.slice(at, next) });
      at = next;
    }
  }

  /** A fault of one request must not fail its neighbours: where it may be one, each runs again alone. */
  async #fail(jobs: readonly Job[], error: unknown): Promise<void> {
    if (jobs.length > 1 && problemOf(error).status < 500) {
      for (const job of jobs) if (this.#open.has(job)) await this.#answer([job]);
    } else {
      for (const job of jobs) this.#reject(job, error);
    }
  }
}
