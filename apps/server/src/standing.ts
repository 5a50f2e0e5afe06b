import type { Receipt, Status, UnlearnerEvent } from '@s3t/unlearner';
import type { Service } from './service.ts';

/** What `/metrics` tells of a run. */
export interface Numbers {
  version: number;
  /** Records that remain, and those that were erased. */
  records: number;
  erased: number;
  /** Stages still to be trained. */
  missing: number;
}

/** How often the run is read again because something happened meanwhile, before what came of it is told and not kept. */
const TRIES = 3;

/**
 * How the run stands, for those who ask again and again: read when somebody first asks, and then kept by what happens. A status of its own
 * would read the ledger each time, and after an erasure the slices that it touched.
 */
export class Standing {
  readonly #service: Service;
  readonly #stop: () => void;
  #status: Promise<Status> | undefined;
  #numbers: Numbers | undefined;
  /** When they were read, milliseconds since 1970. */
  #readAt = 0;
  /** How many events there were. */
  #events = 0;

  constructor(service: Service) {
    this.#service = service;
    this.#stop = service.on((event) => this.#take(event));
  }

  /** The status, read once after each change. */
  async status(): Promise<Status> {
    this.#status ??= this.#service.status();
    const reading = this.#status;
    reading.catch(() => {
      if (this.#status === reading) this.#status = undefined;
    });
    const status = await reading;
    const { isDue, dueAt } = status.repair;
    // Time alone makes a repair due.
    return isDue || dueAt === null || dueAt > Date.now()
      ? status
      : { ...status, repair: { ...status.repair, isDue: true } };
  }

  /** Read once in all, unless stages were trained: erasures say what they changed. */
  async numbers(): Promise<Numbers> {
    for (let tries = 1; this.#numbers === undefined; tries++) {
      const before = this.#events;
      const { version, records, erased, missing } = await this.status();
      const read = { version, records, erased, missing };
      this.#readAt = Date.now();
      if (this.#events === before) this.#numbers = read;
      else if (tries === TRIES) return read;
    }
    return this.#numbers;
  }

  /** The run was lost: what opening it again finishes is told by no event. */
  lost(): void {
    this.#events++;
    this.#status = undefined;
    this.#numbers = undefined;
  }

  close(): void {
    this.#stop();
  }

  #take(event: UnlearnerEvent): void {
    if (event.type === 'step' || event.type === 'stage-started' || event.type === 'backup') return;
    this.#events++;
    this.#status = undefined;
    if (this.#numbers === undefined) return;
    if (event.type === 'version') this.#numbers = { ...this.#numbers, version: event.version };
    else if (event.type === 'erased' && Date.parse(event.receipt.receivedAt) > this.#readAt)
      this.#numbers = afterErasure(this.#numbers, event.receipt);
    // Training is told step by step and seldom ends; and what was read while an erasure was at work may know of it or not.
    else this.#numbers = undefined;
  }
}

function afterErasure(
  { version, records, erased, missing }: Numbers,
  { records: gone, deactivated }: Receipt,
): Numbers {
  const stages = new Set(deactivated.map(({ shard, stage }) => `${shard}/${stage}`));
  return { version, records: records - gone, erased: erased + gone, missing: missing + stages.size };
}
