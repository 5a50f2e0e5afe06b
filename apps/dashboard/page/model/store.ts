// What the page knows of the run, kept live by the server's events.
import { type ApiError, api, session } from './api.ts';
import { follow } from './events.ts';
import { counted, milliseconds } from './format.ts';
import { stagesOf } from './run.ts';
import type { Deactivated, Point, Receipt, RepairState, Status } from './types.ts';

export interface LogLine {
  id: number;
  at: Date;
  kind: 'info' | 'good' | 'gone' | 'bad';
  text: string;
}

export interface State {
  link: 'wait' | 'live' | 'lost';
  /** What the server last said of why it does not tell; null where it said nothing. */
  why: string | null;
  /** Why nothing can be shown without another key. */
  refused: ApiError | null;
  status: Status | null;
  repair: RepairState;
  /** When the repair that runs was first seen, and how far it was. */
  started: { at: number; done: number } | null;
  /** Newest first. */
  receipts: Receipt[];
  history: Point[];
  /** Stages in training, by id, and how far each is, 0 to 1. */
  training: ReadonlyMap<string, number>;
  /** What the erasure in preview would deactivate. */
  doomed: readonly Deactivated[];
  /** The version of the last answer of the try-it panel. */
  answered: number | null;
  /** Newest first. */
  log: LogLine[];
}

const MOST_LINES = 200;
/** After this long what could not be read is asked for again. */
export const AGAIN_MS = 5000;
const IDLE: RepairState = {
  ...{ running: false, paused: false, done: 0, total: 0, failed: null },
  ...{ policy: { policy: 'manual' }, pending: 0, dueAt: null },
};
const EMPTY: State = {
  ...{ link: 'wait', why: null, refused: null, status: null, repair: IDLE, started: null, receipts: [] },
  ...{ history: [], training: new Map(), doomed: [], answered: null, log: [] },
};

class Store {
  state: State = EMPTY;
  readonly #listeners = new Set<() => void>();
  #abort = new AbortController();
  /** Ends what was asked before the last `hello`: an answer that comes after it is older than it. */
  #stale = new AbortController();
  #refreshing = false;
  #again = false;
  #lines = 0;

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  set(change: Partial<State>): void {
    this.state = { ...this.state, ...change };
    for (const listener of this.#listeners) listener();
  }

  /** Follows the server, from the beginning: with the key that the session has now. */
  connect(): void {
    this.#abort.abort();
    this.#stale.abort();
    this.#abort = new AbortController();
    this.set(EMPTY);
    void follow(
      (name, data) => this.#on[name]?.(data),
      (live, why) => this.set({ link: live ? 'live' : 'lost', why: why ?? null }),
      (refused) => this.set({ refused, link: 'lost' }),
      this.#abort.signal,
    );
  }

  signOut(): void {
    session.signOut();
    this.connect();
  }

  say(kind: LogLine['kind'], text: string): void {
    this.#lines += 1;
    const line = { id: this.#lines, at: new Date(), kind, text };
    this.set({ log: [line, ...this.state.log].slice(0, MOST_LINES) });
  }

  failed(error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    // What fails again and again is told once.
    if (this.state.log[0]?.text !== text) this.say('bad', text);
  }

  /** Adds a receipt; it may come as an answer and as an event. */
  addReceipt(receipt: Receipt): void {
    const { receipts } = this.state;
    if (receipts.some(({ erasure }) => erasure === receipt.erasure)) return;
    this.set({ receipts: [receipt, ...receipts] });
    void this.refresh();
  }

  /** Adds a point; what was measured may come as an answer and as an event. */
  addPoint(point: Point): void {
    const { history } = this.state;
    const isThere = ({ at, accuracy }: Point) => at === point.at && accuracy === point.accuracy;
    if (history.some(isThere)) return;
    // Those of the page are by another clock than the server's, which may be behind.
    this.set({ history: [...history, point].sort((a, b) => a.at - b.at) });
  }

  /** Asks for the status again. However many events ask at once, one request runs and at most one follows. */
  async refresh(): Promise<void> {
    this.#again = true;
    if (this.#refreshing) return;
    this.#refreshing = true;
    while (this.#again) {
      this.#again = false;
      const { signal } = this.#stale;
      try {
        const status = await api.status(signal);
        if (!signal.aborted) this.#show(status);
      } catch (error) {
        if (signal.aborted) continue;
        this.failed(error);
        // Else what an event told of stays unseen until the next. Where the stream is lost, too, `hello` brings it.
        setTimeout(() => this.state.link === 'live' && this.refresh(), AGAIN_MS);
      }
    }
    this.#refreshing = false;
  }

  /** Reads what `hello` does not bring. What events add meanwhile is kept. */
  #recall(): void {
    const { receipts: before, history: past } = this.state;
    void this.#ask(api.receipts, (receipts) => {
      const known = new Set(receipts.map(({ erasure }) => erasure));
      const added = this.state.receipts.filter((one) => !before.includes(one) && !known.has(one.erasure));
      this.set({ receipts: [...added, ...receipts] });
    });
    void this.#ask(api.history, (history) => {
      const added = this.state.history.filter((one) => !past.includes(one));
      const last = history.at(-1)?.version ?? -1;
      this.set({ history });
      for (const point of added) if (point.version > last || point.accuracy !== null) this.addPoint(point);
    });
  }

  /** Asks until there is an answer, or what is answered would be from before a later `hello`. */
  async #ask<T>(read: (signal: AbortSignal) => Promise<T>, take: (answer: T) => void): Promise<void> {
    const { signal } = this.#stale;
    try {
      const answer = await read(signal);
      if (!signal.aborted) take(answer);
    } catch (error) {
      if (signal.aborted) return;
      this.failed(error);
      setTimeout(() => signal.aborted || this.#ask(read, take), AGAIN_MS);
    }
  }

  #show(status: Status): void {
    const training = new Map(this.state.training);
    for (const { sequences } of status.shards) {
      for (const { stages } of sequences) {
        for (const { stage, active } of stages) if (active) training.delete(stage);
      }
    }
    const { history, status: before } = this.state;
    this.set({ status, training });
    if (before === null || before.version === status.version || history.at(-1)?.version === status.version)
      return;
    const depths = status.shards.map(({ servedDepth }) => servedDepth);
    // By the page's clock, which may be behind the server's; what came last is last.
    const at = Math.max(Date.now(), history.at(-1)?.at ?? 0);
    this.addPoint({ at, version: status.version, depths, accuracy: null });
  }

  #train(stage: string, share: number): void {
    this.set({ training: new Map(this.state.training).set(stage, share) });
  }

  #stop(stage: string): void {
    const training = new Map(this.state.training);
    training.delete(stage);
    this.set({ training });
  }

  #repair(repair: RepairState): void {
    const { started } = this.state;
    const begun = started ?? { at: performance.now(), done: repair.done };
    this.set({ repair, started: repair.running ? begun : null });
  }

  // biome-ignore lint/suspicious/noExplicitAny: each event has its own shape, told by its name
  readonly #on: Record<string, (data: any) => void> = {
    hello: ({ status, repair }) => {
      this.#stale.abort();
      this.#stale = new AbortController();
      this.set({ training: new Map(), status: null });
      this.#repair(repair);
      this.#show(status);
      this.say('info', `Connected; version ${status.version} is served`);
      this.#recall();
    },
    version: () => {
      const wasLost = this.state.link === 'lost';
      this.set({ link: 'live' });
      void this.refresh();
      // What another process finished of an erasure as it opened the run is told by no event.
      if (wasLost) this.#recall();
    },
    lost: () => {
      this.set({ link: 'lost', training: new Map() });
      this.say('bad', 'The process that holds the run is gone; another opens it');
    },
    erased: ({ receipt }: { receipt: Receipt }) => {
      const stages = counted(stagesOf(receipt.deactivated), 'stage');
      const took = milliseconds(receipt.acknowledgedMs);
      this.say(
        'gone',
        `Erased ${counted(receipt.records, 'record')}: ${stages} gone, acknowledged in ${took}`,
      );
      this.addReceipt(receipt);
    },
    measured: (point: Point) => {
      if (point.accuracy !== null) this.addPoint(point);
    },
    repair: (state) => this.#repair(state),
    'work-started': ({ stages }) => this.say('info', `Training ${counted(stages, 'stage')}`),
    'stage-started': ({ stage, shard, position, index, stages }) => {
      this.say('info', `Training shard ${shard}, position ${position} (${index + 1} of ${stages})`);
      this.#train(stage, 0);
    },
    step: ({ stage, step, steps, doneSteps, totalSteps }) => {
      this.#train(stage, step / steps);
      // Training need not have been started by this server's repair; a step proves that something trains.
      this.#repair({ ...this.state.repair, running: true, done: doneSteps, total: totalSteps, failed: null });
    },
    'stage-published': ({ shard, position, version }) => {
      // Still shown as training until the new status says it is active.
      this.say('good', `Published shard ${shard}, position ${position} as version ${version}`);
      void this.refresh();
    },
    'stage-superseded': ({ stage, shard, position }) => {
      this.#stop(stage);
      this.say('gone', `Thrown away shard ${shard}, position ${position}: erased while it trained`);
      void this.refresh();
    },
    'work-finished': ({ trained }) => {
      this.set({ training: new Map() });
      this.#repair({ ...this.state.repair, running: false });
      this.say('good', `Trained ${counted(trained, 'stage')}`);
      void this.refresh();
    },
  };
}

export const store = new Store();
