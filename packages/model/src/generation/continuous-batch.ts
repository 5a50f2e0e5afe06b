import { Continuation, type GeneratedPiece, type GenerateOptions } from './continuation.ts';
import { checkTokens, type Decoder } from './decoder.ts';

export interface ContinuousBatchOptions {
  /** Awaited before every step: when it may take the device. */
  turn?: () => Promise<void>;
  /** How many tokens of prompts are read between two tokens of those that go on. Default 32. */
  chunk?: number;
}

/** A text that waits for a slot, or has one. */
interface Text {
  continuation: Continuation;
  /** Of the prompt, what was not read yet. */
  unread: readonly number[];
  /** What is read next, once the prompt is. */
  token: number | null;
  /** A piece that nobody has taken. */
  ready: GeneratedPiece | null;
  /** Who waits for one. */
  taker: PromiseWithResolvers<GeneratedPiece> | null;
  /** Why there are no more. */
  failed: { error: unknown } | null;
}

/**
 * Continues texts together (iteration-level scheduling; Yu et al. 2022, "Orca"): each token is one step for all texts that have a
 * slot, a text joins at the next one and leaves with its last. First come, first served. Prompts are read in chunks between the
 * tokens of the others. Every text has, to the bit, the tokens that it has alone. Of each at most one piece is computed ahead of whoever
 * reads it: one that is read slowly keeps its slot, and holds up nobody.
 */
export class ContinuousBatch {
  readonly #decoder: Decoder;
  readonly #turn: () => Promise<void>;
  readonly #chunk: number;
  readonly #waiting: Set<Text> = new Set();
  /** By slot, in the order in which they joined. */
  readonly #running: Map<number, Text> = new Map();
  #isWorking = false;
  #closed: { error: unknown } | null = null;

  /** @param decoder which nobody else uses */
  constructor(decoder: Decoder, { turn = async () => {}, chunk = 32 }: ContinuousBatchOptions = {}) {
    this.#decoder = decoder;
    this.#turn = turn;
    this.#chunk = chunk;
  }

  /** How many texts wait for a slot. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** How many texts have a slot. */
  get running(): number {
    return this.#running.size;
  }

  /**
   * Continues a prompt as `generate` does, among others.
   * @throws ModelError naming what is wrong with the prompt or an option; whatever `signal` or `close` ends it with, at once
   */
  async *generate(
    prompt: readonly number[],
    options: GenerateOptions = {},
  ): AsyncGenerator<GeneratedPiece, void, undefined> {
    const { model, capacity } = this.#decoder;
    const continuation = new Continuation(this.#decoder, prompt, options);
    checkTokens(prompt, model.config.vocab_size, 0, capacity);
    if (this.#closed) throw this.#closed.error;
    const { signal } = options;
    signal?.throwIfAborted();
    const text: Text = {
      continuation,
      unread: prompt,
      token: null,
      ready: null,
      taker: null,
      failed: null,
    };
    const abort = () => this.#fail(text, signal!.reason);
    signal?.addEventListener('abort', abort);
    this.#waiting.add(text);
    try {
      for (;;) {
        const piece = await this.#take(text);
        yield piece;
        if (piece.finish) return;
      }
    } finally {
      signal?.removeEventListener('abort', abort);
      this.#leave(text);
      // Its slot is another's.
      void this.#work();
    }
  }

  /** Ends all texts with an error, at once, and takes no more. */
  close(error: unknown): void {
    this.#closed ??= { error };
    this.#failAll(error);
  }

  async #take(text: Text): Promise<GeneratedPiece> {
    if (text.failed) throw text.failed.error;
    const { ready } = text;
    text.ready = null;
    if (!ready) text.taker = Promise.withResolvers();
    void this.#work();
    return ready ?? text.taker!.promise;
  }

  #leave(text: Text): void {
    this.#waiting.delete(text);
    for (const [slot, each] of this.#running) if (each === text) this.#running.delete(slot);
  }

  #fail(text: Text, error: unknown): void {
    this.#leave(text);
    text.failed ??= { error };
    text.ready = null;
    text.taker?.reject(error);
    text.taker = null;
    void this.#work();
  }

  #failAll(error: unknown): void {
    for (const text of [...this.#waiting, ...this.#running.values()]) this.#fail(text, error);
  }

  async #work(): Promise<void> {
    if (this.#isWorking) return;
    this.#isWorking = true;
    try {
      for (;;) {
        this.#admit();
        if (![...this.#running.values()].some((text) => isReading(text) || isGoing(text))) return;
        await this.#turn();
        await this.#readPrompts();
        await this.#step();
      }
    } catch (error) {
      this.#failAll(error);
    } finally {
      this.#isWorking = false;
    }
  }

  /** Gives free slots to those who came first. Not while a step is under way: it still writes to the slots that it began with. */
  #admit(): void {
    for (let slot = 0; slot < this.#decoder.slots; slot++) {
      const [text] = this.#waiting;
      if (!text) return;
      if (this.#running.has(slot)) continue;
      this.#waiting.delete(text);
      this.#running.set(slot, text);
      this.#decoder.reset(slot);
    }
  }

  /** Reads on in the prompts, of those who came first first. Who keeps nobody waiting reads as much as a step takes. */
  async #readPrompts(): Promise<void> {
    const texts = [...this.#running];
    let left = texts.some(([, text]) => isGoing(text)) ? this.#chunk : this.#decoder.longestStep;
    for (const [slot, text] of texts) {
      if (left <= 0) return;
      if (this.#running.get(slot) !== text || !isReading(text)) continue;
      const part = text.unread.slice(0, Math.min(left, this.#decoder.longestStep));
      left -= part.length;
      const logits = await this.#decoder.append(part, slot);
      text.unread = text.unread.slice(part.length);
      if (this.#running.get(slot) === text && !isReading(text)) this.#put(slot, text, logits);
    }
  }

  /** The next token of all that go on. */
  async #step(): Promise<void> {
    const going = [...this.#running].filter(([, text]) => isGoing(text));
    if (going.length === 0) return;
    const all = await this.#decoder.step(going.map(([slot, { token }]) => ({ slot, token: token! })));
    going.forEach(([slot, text], i) => {
      if (this.#running.get(slot) === text) this.#put(slot, text, all[i]!);
    });
  }

  #put(slot: number, text: Text, logits: Float32Array): void {
    let piece: GeneratedPiece;
    try {
      piece = text.continuation.next(logits, this.#decoder.position(slot));
    } catch (error) {
      this.#fail(text, error);
      return;
    }
    text.token = piece.finish ? null : piece.token;
    if (piece.finish) this.#leave(text);
    if (text.taker) text.taker.resolve(piece);
    else text.ready = piece;
    text.taker = null;
  }
}

function isReading({ unread }: Text): boolean {
  return unread.length > 0;
}

/** Whether its next token is wanted: none lies ready. */
function isGoing({ token, ready }: Text): boolean {
  return token !== null && ready === null;
}
