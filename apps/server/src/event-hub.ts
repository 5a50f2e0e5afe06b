import type { UnlearnerEvent } from '@s3t/unlearner';
import type { Service } from './service.ts';

/** What subscribers get: an event's name and its JSON. */
export interface Message {
  event: string;
  data: unknown;
}

export interface EventHubOptions {
  /** Fewest milliseconds between two `step` messages. */
  stepMs: number;
  /** Awaited before an `erased` message goes out: saying so is an acknowledgement too. */
  beforeErased(version: number): Promise<void>;
}

/** Fans the run's events out. `step` is throttled to the newest one; everything else goes out at once and in order. */
export class EventHub {
  readonly #options: EventHubOptions;
  readonly #listeners = new Set<(message: Message) => void>();
  readonly #stop: () => void;
  #step: Message | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Ends when everything taken so far has gone out: what follows an erasure must not overtake it. */
  #tail: Promise<void> = Promise.resolve();

  constructor(service: Service, options: EventHubOptions) {
    this.#options = options;
    this.#stop = service.on((event) => {
      this.#tail = this.#tail.then(() => this.#take(event));
    });
  }

  /** Adds a message of the app's own, in its place among the run's. */
  add(message: Message): void {
    this.#tail = this.#tail.then(() => this.#send(message));
  }

  /** Open subscriptions. */
  get size(): number {
    return this.#listeners.size;
  }

  /** Returns how to stop. */
  subscribe(listener: (message: Message) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#stop();
    clearTimeout(this.#timer);
    this.#listeners.clear();
  }

  async #take(event: UnlearnerEvent): Promise<void> {
    if (event.type === 'erased') {
      const { receipt } = event;
      await this.#options.beforeErased(receipt.after.version);
      this.#send({ event: event.type, data: { receipt } });
      return;
    }
    const { type, ...data } = event;
    if (type === 'step') this.#throttle({ event: type, data });
    else this.#send({ event: type, data });
  }

  #send(message: Message): void {
    // The step that was held back comes before what follows it.
    this.#flush();
    this.#deliver(message);
  }

  #deliver(message: Message): void {
    for (const listener of [...this.#listeners]) listener(message);
  }

  #throttle(step: Message): void {
    if (this.#timer === undefined) {
      this.#deliver(step);
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.#flush();
      }, this.#options.stepMs);
    } else {
      this.#step = step;
    }
  }

  #flush(): void {
    const step = this.#step;
    this.#step = undefined;
    if (step !== undefined) this.#deliver(step);
  }
}
