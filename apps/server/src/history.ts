import type { EventHub } from './event-hub.ts';
import { codeOf, Problem } from './problem.ts';
import type { Service } from './service.ts';

/** How the run stood from `at` on. */
export interface Point {
  /** Milliseconds since 1970. */
  at: number;
  version: number;
  /** Served depth of each shard. */
  depths: number[];
  /** On the evaluation data; null where it was not measured. */
  accuracy: number | null;
}

/** Points that are kept; the oldest go. */
const MOST = 2000;
/** Versions that follow each other faster are one point: a status reads the database. */
const SETTLE_MS = 200;

/** What was served since the app started, and how well, as often as somebody measured it. */
export class History {
  readonly #service: Service;
  readonly #hub: EventHub;
  readonly #stop: () => void;
  #points: Point[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #measuring: Promise<Point> | undefined;
  readonly #onError: (error: unknown) => void;

  constructor(service: Service, hub: EventHub, onError: (error: unknown) => void) {
    this.#service = service;
    this.#hub = hub;
    this.#onError = onError;
    this.#stop = service.on(({ type }) => {
      if (type !== 'version') return;
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        this.#note(null).catch(this.#onError);
      }, SETTLE_MS);
    });
  }

  /** Oldest first. The first of all is how it stood when this was first asked for, or changed. */
  async points(): Promise<readonly Point[]> {
    if (this.#points.length === 0) await this.#note(null);
    return this.#points;
  }

  /** Measures what is served. Who asks while that is done gets the same answer. */
  measure(): Promise<Point> {
    this.#measuring ??= this.#measure().finally(() => {
      this.#measuring = undefined;
    });
    return this.#measuring;
  }

  close(): void {
    this.#stop();
    clearTimeout(this.#timer);
  }

  async #measure(): Promise<Point> {
    if (this.#service.evaluate === undefined)
      throw new Problem(404, 'no-evaluation', 'this server cannot measure accuracy');
    const { accuracy, version } = await this.#service.evaluate().catch((error: unknown) => {
      // A run whose configuration names no evaluation data.
      if (codeOf(error) === 'config') throw new Problem(404, 'no-evaluation', (error as Error).message);
      throw error;
    });
    if (accuracy === undefined)
      throw new Problem(404, 'no-evaluation', "the run's task is not measured by accuracy: use s3t eval");
    const point = await this.#note(accuracy, version);
    this.#hub.add({ event: 'measured', data: point });
    return point;
  }

  async #note(accuracy: number | null, measured?: number): Promise<Point> {
    const status = await this.#service.status();
    // What was measured may have been replaced meanwhile: then the accuracy is its own, and the depths are not known any more.
    const version = measured ?? status.version;
    const known = this.#points.findLast((point) => point.version === version);
    const depths =
      version === status.version || known === undefined
        ? status.shards.map(({ servedDepth }) => servedDepth)
        : known.depths;
    const point = { at: Date.now(), version, depths, accuracy };
    this.#points = [...this.#points, point].slice(-MOST);
    return point;
  }
}
