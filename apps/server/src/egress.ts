/**
 * Answers that have left the app and may not have left the machine.
 *
 * After the version check a response is handed to the runtime in the same task. Then it can still linger: behind an earlier answer
 * on a pipelined connection, or in a buffer because its reader is slow. An erasure must not be acknowledged before such an answer is
 * out or cut off, so each is tracked here until the runtime says it is done.
 */
export class Egress {
  readonly #leaving = new Set<Leaving>();
  readonly #graceMs: number;
  readonly #mayLeave: (version: number) => boolean;

  /** @param mayLeave whether answers of a version may still leave: see `Service.validSince` */
  constructor(graceMs: number, mayLeave: (version: number) => boolean = () => false) {
    this.#graceMs = graceMs;
    this.#mayLeave = mayLeave;
  }

  /** How many answers are on their way. */
  get size(): number {
    return this.#leaving.size;
  }

  /**
   * Tracks the response about to be returned. `env` is Hono's `c.env`: what the runtime passed beside the request.
   * @param mostMs after so long it is cut off
   */
  track(env: unknown, version: number, mostMs?: number): void {
    const transport = transportOf(env);
    if (transport === undefined) return;
    const leaving: Leaving = { version, ...transport };
    this.#leaving.add(leaving);
    const timer = mostMs === undefined ? undefined : setTimeout(() => leaving.cut(), mostMs);
    transport.done.finally(() => {
      clearTimeout(timer);
      this.#leaving.delete(leaving);
    });
  }

  /**
   * Resolves when no answer older than `version` that must not leave is on its way any more: after a short grace, those that remain are cut off.
   * Resolves at once (in microtasks) when there is none.
   */
  async settle(version: number): Promise<void> {
    const older = [...this.#leaving].filter(
      (leaving) => leaving.version < version && !this.#mayLeave(leaving.version),
    );
    if (older.length === 0) return;
    const out = Promise.all(older.map(({ done }) => done));
    await within(out, this.#graceMs);
    // The timer of a busy loop fires late, before the runtime has told of the answers that went out meanwhile: it gets a turn to.
    await within(out, 0);
    for (const leaving of older) if (this.#leaving.has(leaving)) leaving.cut();
  }
}

/** Resolves with the promise, or after so many milliseconds. */
async function within(promise: Promise<unknown>, ms: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const pause = new Promise((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([promise, pause]);
  clearTimeout(timer);
}

interface Transport {
  /** Resolves when the response is out or its connection is gone; never rejects. */
  done: Promise<unknown>;
  cut(): void;
}

interface Leaving extends Transport {
  version: number;
}

/** Node's adapter gives the `ServerResponse` (which can be destroyed), Deno a promise (a response it has taken cannot be recalled). */
function transportOf(env: unknown): Transport | undefined {
  if (typeof env !== 'object' || env === null) return undefined;
  if ('outgoing' in env) {
    const outgoing = env.outgoing as NodeResponse;
    const { promise: done, resolve } = Promise.withResolvers<void>();
    // Of a connection that went away while the answer was computed it was told then, and is not told again.
    if (outgoing.destroyed) resolve();
    outgoing.once('finish', resolve);
    outgoing.once('close', resolve);
    const cut = () => {
      outgoing.destroy();
      // One that still waits behind another on a connection that is gone never says that it is closed.
      resolve();
    };
    return { done, cut };
  }
  if ('completed' in env) {
    return { done: Promise.resolve(env.completed as Promise<void>).catch(() => {}), cut: () => {} };
  }
  return undefined;
}

interface NodeResponse {
  readonly destroyed: boolean;
  once(event: 'finish' | 'close', listener: () => void): unknown;
  destroy(): unknown;
}
