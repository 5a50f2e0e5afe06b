import type { EventHub } from './event-hub.ts';
import { codeOf } from './problem.ts';
import type { Service } from './service.ts';

/** How the repair in the background stands. */
export interface RepairState {
  running: boolean;
  /** Training steps done and planned, of the repair that runs or ran last. */
  done: number;
  total: number;
  /** The code of what ended the last one early; null when nothing did. */
  failed: string | null;
}

/** Runs one repair at a time, in the background of the requests. */
export class Repair {
  readonly #service: Service;
  readonly #hub: EventHub;
  readonly #onError: (error: unknown) => void;
  readonly #abort = new AbortController();
  readonly #stop: () => void;
  #state: RepairState = { running: false, done: 0, total: 0, failed: null };
  #work: Promise<void> | undefined;

  constructor(service: Service, hub: EventHub, onError: (error: unknown) => void) {
    this.#service = service;
    this.#hub = hub;
    this.#onError = onError;
    this.#stop = service.on((event) => {
      if (event.type === 'work-started') this.#state = { ...this.#state, done: 0, total: event.steps };
      if (event.type === 'step') {
        this.#state = { ...this.#state, done: event.doneSteps, total: event.totalSteps };
      }
    });
  }

  get state(): RepairState {
    return this.#state;
  }

  /** Starts one, or does nothing while one runs. */
  start(): RepairState {
    this.#work ??= this.#run().finally(() => {
      this.#work = undefined;
    });
    return this.#state;
  }

  /** Stops after the current training step; what was published stays. */
  async close(): Promise<void> {
    this.#abort.abort();
    await this.#work;
    this.#stop();
  }

  async #run(): Promise<void> {
    this.#set({ running: true, done: 0, total: 0, failed: null });
    try {
      await this.#service.repair({ signal: this.#abort.signal });
      this.#set({ ...this.#state, running: false });
    } catch (error) {
      const aborted = this.#abort.signal.aborted;
      if (!aborted) this.#onError(error);
      this.#set({
        ...this.#state,
        running: false,
        failed: aborted ? 'stopped' : (codeOf(error) ?? 'internal'),
      });
    }
  }

  #set(state: RepairState): void {
    this.#state = state;
    this.#hub.add({ event: 'repair', data: state });
  }
}
