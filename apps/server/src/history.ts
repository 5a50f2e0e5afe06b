import type { Current } from './current.ts';
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

/** Points that are told; the oldest are not. */
const MOST = 2000;
/** Versions that follow each other faster are one point. */
const SETTLE_MS = 200;

/** Notes of what was measured; their names sort by time. */
const MEASURED = 'measured/';

/** What was served, and how well, as often as somebody measured it. What was before the app started stands in the ledger. */
export class History {
  readonly #service: Service;
  readonly #hub: EventHub;
  readonly #current: Current;
  readonly #stop: () => void;
  readonly #startedAt = Date.now();
  /** Read when somebody first asks. */
  #past: Promise<Point[]> | undefined;
  #points: Point[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #measuring: Promise<Point> | undefined;

  constructor({ service, hub, current }: { service: Service; hub: EventHub; current: Current }) {
    this.#service = service;
    this.#hub = hub;
    this.#current = current;
    let latest = 0;
    this.#stop = service.on((event) => {
      if (event.type !== 'version') return;
      latest = event.version;
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        this.#note(latest, null);
      }, SETTLE_MS);
    });
  }

  /** Oldest first. The first of all is how it stood when this was first asked for, or changed. */
  async points(): Promise<readonly Point[]> {
    const { version } = await this.#current.get();
    this.#past ??= this.#recall().catch((error: unknown) => {
      this.#past = undefined;
      throw error;
    });
    const past = await this.#past;
    if (this.#points.length === 0 && past.at(-1)?.version !== version) this.#note(version, null);
    return [...past, ...this.#points].slice(-MOST);
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
    const point = this.#note(version, accuracy);
    this.#hub.add({ event: 'measured', data: point });
    await this.#service.note(`${MEASURED}${String(point.at).padStart(15, '0')}`, point);
    return point;
  }

  async #recall(): Promise<Point[]> {
    const versions = (await this.#service.history(MOST)).map((point) => ({ ...point, accuracy: null }));
    const measured = (await this.#service.notes(MEASURED)).values();
    return [...versions, ...(measured as Iterable<Point>)]
      .filter(({ at }) => at < this.#startedAt)
      .sort((a, b) => a.at - b.at);
  }

  #note(version: number, accuracy: number | null): Point {
    const { servedVersion, servedDepths } = this.#service;
    // What was measured may have been replaced meanwhile: then its depths are those that were noted, if any were.
    const known =
      version === servedVersion ? undefined : this.#points.findLast((point) => point.version === version);
    const depths = known?.depths ?? [...servedDepths];
    const point = { at: Date.now(), version, depths, accuracy };
    this.#points = [...this.#points, point].slice(-MOST);
    return point;
  }
}
