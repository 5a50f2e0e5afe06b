import type { RepairStanding } from '@s3t/unlearner';
import type { EventHub } from './event-hub.ts';
import { codeOf } from './problem.ts';
import type { Service } from './service.ts';
import type { Tracing } from './tracing.ts';

/** How the repair in the background stands. */
export interface RepairState {
  running: boolean;
  /** Whether it waits, before its next training step or before it begins. */
  paused: boolean;
  /** Training steps done and planned, of the repair that runs or ran last. */
  done: number;
  total: number;
  /** The code of what ended the last one early; null when nothing did. */
  failed: string | null;
  /** When repairs begin by themselves. */
  policy: RepairStanding['policy'];
  /** Erased records that no complete repair has followed yet. */
  pending: number;
  /** When the policy wants the next one if nothing else is erased, ISO 8601; null when time alone does not make it due. */
  dueAt: string | null;
}

/** The note that keeps a pause. */
const PAUSED = 'repair-paused';

/** After a repair that failed of itself the next try waits this long, twice as long after each that follows. */
const RETRY_MS = 60_000;
const LONGEST_RETRY_MS = 3_600_000;
/** Longer than this no timer waits: then it is asked again. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Runs one repair at a time, in the background of the requests: when the run's policy wants one, or somebody asks. */
export class Repair {
  readonly #service: Service;
  readonly #hub: EventHub;
  readonly #onError: (error: unknown) => void;
  readonly #tracing: Tracing | undefined;
  readonly #abort = new AbortController();
  readonly #stop: () => void;
  #state: RepairState = {
    ...{ running: false, paused: false, done: 0, total: 0, failed: null },
    ...{ policy: { policy: 'manual' }, pending: 0, dueAt: null },
  };
  #work: Promise<void> | undefined;
  /** What the steps of a paused repair wait for. */
  #resumed: PromiseWithResolvers<void> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Looking at what waits, one after the other. */
  #looking: Promise<void> = Promise.resolve();
  /** Whether a look is to come: one is enough for many erasures. */
  #isAsked = false;
  #failures = 0;
  /** Whether this process was told to hold or to go on: what an earlier one was told counts no more. */
  #isTold = false;
  #noting: Promise<void> = Promise.resolve();
  #isLost = false;

  constructor(service: Service, hub: EventHub, onError: (error: unknown) => void, tracing?: Tracing) {
    this.#service = service;
    this.#hub = hub;
    this.#onError = onError;
    this.#tracing = tracing;
    this.#stop = service.on((event) => {
      if (event.type === 'work-started') this.#state = { ...this.#state, done: 0, total: event.steps };
      if (event.type === 'step') {
        this.#state = { ...this.#state, done: event.doneSteps, total: event.totalSteps };
      }
      const isBack = this.#isLost && event.type === 'version';
      if (isBack) this.#isLost = false;
      if (isBack || event.type === 'erased' || event.type === 'repaired') this.#look();
    });
    // What an earlier process left may be due, unless it was told to hold.
    this.#looking = this.#recall().catch(this.#onError);
    this.#look();
  }

  get state(): RepairState {
    return this.#state;
  }

  /** Starts one, or does nothing while one runs. A paused one stays paused. */
  start(): RepairState {
    this.#work ??= this.#run().finally(() => {
      this.#work = undefined;
      this.#look();
    });
    return this.#state;
  }

  /** Holds the repair before its next training step, and begins none until it is resumed, whether or not the server restarts. */
  async pause(): Promise<RepairState> {
    this.#hold();
    await this.#remember(true);
    return this.#state;
  }

  #hold(): void {
    this.#resumed ??= Promise.withResolvers();
    if (!this.#state.paused) this.#set({ ...this.#state, paused: true });
  }

  /** Goes on from where it was paused. */
  async resume(): Promise<RepairState> {
    await this.#remember(null);
    this.#resumed?.resolve();
    this.#resumed = undefined;
    if (this.#state.paused) this.#set({ ...this.#state, paused: false });
    this.#look();
    return this.#state;
  }

  async #recall(): Promise<void> {
    if ((await this.#service.notes(PAUSED)).get(PAUSED) === true && !this.#isTold) this.#hold();
  }

  /** In the order in which it was told. */
  #remember(paused: true | null): Promise<void> {
    this.#isTold = true;
    const noted = this.#noting.then(() => this.#service.note(PAUSED, paused));
    this.#noting = noted.catch(() => {});
    return noted;
  }

  /** The run was lost. What opening it again finishes of an erasure is told by the next version, and by no event of its own. */
  lost(): void {
    this.#isLost = true;
  }

  /** Stops after the current training step; what was published stays. */
  async close(): Promise<void> {
    this.#abort.abort();
    clearTimeout(this.#timer);
    await this.#work;
    await this.#looking;
    this.#stop();
  }

  async #run(): Promise<void> {
    this.#set({ ...this.#state, running: true, done: 0, total: 0, failed: null });
    try {
      const work = () =>
        this.#service.repair({ signal: this.#abort.signal, turn: () => this.#resumed?.promise });
      await (this.#tracing?.repair(this.#service, work) ?? work());
      this.#failures = 0;
      this.#set({ ...this.#state, running: false });
    } catch (error) {
      const aborted = this.#abort.signal.aborted;
      if (!aborted) this.#onError(error);
      this.#failures++;
      this.#set({
        ...this.#state,
        running: false,
        failed: aborted ? 'stopped' : (codeOf(error) ?? 'internal'),
      });
    }
  }

  /** Looks at what waits for a repair, and begins one or sets the clock. */
  #look(): void {
    if (this.#isAsked) return;
    this.#isAsked = true;
    // In a task of its own: an acknowledgement leaves before the ledger is asked again.
    const afterwards = new Promise((resolve) => setTimeout(resolve, 0));
    this.#looking = this.#looking
      .then(() => afterwards)
      .then(() => {
        this.#isAsked = false;
        return this.#schedule();
      })
      .catch(this.#onError);
  }

  async #schedule(): Promise<void> {
    const isClosed = () => this.#abort.signal.aborted;
    if (isClosed()) return;
    const { policy, pending, isDue, dueAt } = await this.#service.repairStanding();
    if (isClosed()) return;
    const due = dueAt === null ? null : new Date(dueAt).toISOString();
    const isNews = pending !== this.#state.pending || policy.policy !== this.#state.policy.policy;
    this.#state = { ...this.#state, policy, pending, dueAt: due };
    if (isNews) this.#set(this.#state);
    clearTimeout(this.#timer);
    if (this.#work || this.#state.paused || dueAt === null) return;
    const retry = this.#failures === 0 ? 0 : Math.min(LONGEST_RETRY_MS, RETRY_MS * 2 ** (this.#failures - 1));
    const wait = Math.max(isDue ? 0 : dueAt - Date.now(), retry);
    if (wait === 0) this.start();
    else this.#timer = setTimeout(() => this.#wake(), Math.min(wait, LONGEST_TIMER_MS));
  }

  /** The clock has run out: what failed may be tried again. */
  #wake(): void {
    if (this.#failures > 0 && !this.#state.paused) this.start();
    else this.#look();
  }

  #set(state: RepairState): void {
    this.#state = state;
    this.#hub.add({ event: 'repair', data: state });
  }
}
