import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Client,
  charactersOf,
  connect,
  MOST_OF_REQUEST,
  type Model,
  type RepairState,
  ServerError,
  type TextPiece,
} from '@s3t/server/client';
import type {
  Backup,
  BackupChoice,
  ContinueOptions,
  EraseOptions,
  ErasureTarget,
  Input,
  Prediction,
  Receipt,
  Status,
} from '@s3t/unlearner';
import { UsageError } from './errors.ts';

/** A prediction as it travels: the server keeps the names of its stages to itself. */
export type RemotePrediction = Omit<Prediction, 'stages'>;

/** Inputs of one request: what servers accept by default. */
const MAX_INPUTS = 64;
/** Base64 grows by a third, and servers take 32 MiB. */
const MAX_PIXELS = 20 * 1024 * 1024;
const POLL_MS = 500;

/** The server that holds a run, as the command line uses it: patient where it is busy, in requests of a size it takes. */
export class RunServer {
  readonly url: string;
  readonly #client: Client;

  /** @param key an API key, where the server has keys */
  constructor(url: string, key: string | undefined) {
    this.url = url;
    this.#client = connect(url, { key });
  }

  status(): Promise<Status> {
    return this.#client.status();
  }

  erase(target: ErasureTarget, options: Omit<EraseOptions, 'receivedAt' | 'drain'>): Promise<Receipt> {
    return this.#client.erase(target, options);
  }

  /** Of the newest erasures that are acknowledged, the newest first. */
  receipts(limit: number): Promise<Receipt[]> {
    return this.#client.receipts(limit);
  }

  /** The text of a receipt's file. */
  receiptFile(erasure: string): Promise<string> {
    return this.#client.receiptFile(erasure);
  }

  publicKey(): Promise<string> {
    return this.#client.publicKey();
  }

  /** Leaves a backup in the run folder. */
  async backup({ onFile, ...choice }: Pick<BackupChoice, 'signingKey' | 'onFile'>): Promise<Backup> {
    const stop = new AbortController();
    const events = this.#client.events(stop.signal);
    // Nobody has to see how far it is: a server may have as many streams as it allows.
    const follow = async (): Promise<void> => {
      for await (const { event, data } of events) {
        const { done, total } = data as { done: number; total: number };
        if (event === 'backup') onFile?.(done, total);
      }
    };
    try {
      // The hello: from here on nothing is missed.
      await events.next().catch(() => {});
      void follow().catch(() => {});
      return await this.#client.backup(choice);
    } finally {
      stop.abort();
    }
  }

  /** Answers in order; each part may come from another version. */
  async predict(inputs: readonly Input[], top: number): Promise<RemotePrediction[]> {
    const parts: RemotePrediction[] = [];
    for (const part of split(inputs)) parts.push(await patiently(() => this.#client.predict(part, { top })));
    return parts;
  }

  /** What its run does, and what it takes. */
  model(): Promise<Model> {
    return this.#client.model();
  }

  /** Continues a text, piece by piece. */
  async *generate(input: Input, options: ContinueOptions): AsyncGenerator<TextPiece, void, undefined> {
    const { id } = await this.#client.model();
    const prompt = promptOf(input);
    yield* await patiently(() => this.#client.complete(id, prompt, options));
  }

  /** Holds the server's repairs, or lets them go on. */
  holdRepair(isHeld: boolean): Promise<RepairState> {
    return isHeld ? this.#client.pauseRepair() : this.#client.resumeRepair();
  }

  /** Asks for a repair and follows it to its end. Aborting stops following, not repairing. */
  async repair(onState: (state: RepairState) => void, signal?: AbortSignal): Promise<RepairState> {
    let state = await this.#client.repair();
    while (state.running) {
      onState(state);
      await sleep(POLL_MS, undefined, { signal });
      state = await this.#client.repairState();
    }
    return state;
  }
}

/** A prompt as it travels: a text, or texts by field. */
function promptOf(input: Input): string | Record<string, string> {
  if (!('text' in input)) throw new UsageError('predict: this run continues texts, not images');
  const { text } = input;
  if (typeof text === 'string') return text;
  if (!Array.isArray(text)) return text as Record<string, string>;
  if (text.length === 1) return text[0]!;
  throw new UsageError('predict: a server takes several texts of a prompt by their fields, not as a list');
}

/** Tries again for as long as the server says its queue is full. */
async function patiently<T>(request: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await request();
    } catch (error) {
      if (!(error instanceof ServerError) || error.status !== 429) throw error;
      await sleep((error.retryAfter ?? 1) * 1000);
    }
  }
}

function split(inputs: readonly Input[]): Input[][] {
  const parts: Input[][] = [];
  // How much of what a request may hold is taken.
  let taken = 0;
  for (const input of inputs) {
    const share =
      'image' in input ? input.image.pixels.length / MAX_PIXELS : charactersOf(input) / MOST_OF_REQUEST;
    const last = parts.at(-1);
    if (last && last.length < MAX_INPUTS && taken + share <= 1) {
      last.push(input);
      taken += share;
    } else {
      parts.push([input]);
      taken = share;
    }
  }
  return parts;
}
