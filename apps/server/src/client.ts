import type {
  Backup,
  BackupChoice,
  ContinueOptions,
  EraseOptions,
  ErasureTarget,
  GenerationPiece,
  Input,
  Receipt,
  Status,
} from '@s3t/unlearner';
import type { Answer } from './batcher.ts';
import type { Message } from './event-hub.ts';
import type { RepairState } from './repair.ts';
import type { Erasure } from './schemas.ts';
import { parseChunks, parseEvents } from './sse.ts';

export { inputFields } from './input-fields.ts';
export { type Api, type RpcOptions, rpc } from './rpc.ts';
export { charactersOf, MOST_OF_REQUEST } from './text-size.ts';
export type { Answer, Erasure, Message, RepairState };

/** What is served, as `/v1/models` has it. */
export interface Model {
  id: string;
  /** What the run does: a `causal-lm` continues texts, the others predict. */
  task: string;
  reads: 'image' | 'text';
  /** The fields of a row of its data that an input is made of; none where the data has no rows with fields. */
  fields: string[];
}

/** A piece of a text, and what computed it. */
export type TextPiece = Pick<GenerationPiece, 'text' | 'finish' | 'version' | 'manifest'>;

/** An error answer of the server, or that there was none (`code` is `unreachable`, `status` 0). */
export class ServerError extends Error {
  override name = 'ServerError';
  readonly code: string;
  readonly status: number;
  /** The field at fault. */
  readonly path: string | undefined;
  /** Seconds the server asks to wait. */
  readonly retryAfter: number | undefined;

  constructor(
    message: string,
    about: { code: string; status: number; path?: string; retryAfter?: number; cause?: unknown },
  ) {
    super(message, { cause: about.cause });
    this.code = about.code;
    this.status = about.status;
    this.path = about.path;
    this.retryAfter = about.retryAfter;
  }
}

/** A server's API. Every method may throw ServerError. */
export interface Client {
  predict(inputs: readonly Input[], options?: { top?: number }): Promise<Answer>;
  model(): Promise<Model>;
  /**
   * Continues a text, piece by piece, of a run whose task is causal-lm; by default greedily, and as far as it fits.
   * @param prompt a text, or a record's texts by field
   * @returns once the first piece is there; later a ServerError where an erasure changes what is served
   */
  complete(
    model: string,
    prompt: string | Readonly<Record<string, string>>,
    options?: ContinueOptions,
  ): Promise<AsyncGenerator<TextPiece, void, undefined>>;
  status(): Promise<Status>;
  /** @param target ids of records, or records and subjects */
  erase(
    target: readonly string[] | ErasureTarget,
    options?: Omit<EraseOptions, 'receivedAt' | 'drain'>,
  ): Promise<Receipt>;
  /** Of erasures that are acknowledged, newest first. */
  receipts(limit?: number): Promise<(Erasure & Receipt)[]>;
  /** An erasure, also one whose weights are still being destroyed. */
  receipt(erasure: string): Promise<Erasure>;
  /** The text of a receipt's file, as it has to be kept. */
  receiptFile(erasure: string): Promise<string>;
  /** The key that receipts are signed with. */
  publicKey(): Promise<string>;
  /** Leaves a backup in the run folder, as `backup.staged`. */
  backup(choice?: Pick<BackupChoice, 'signingKey'>): Promise<Backup>;
  /** Starts a repair in the server's background. */
  repair(): Promise<RepairState>;
  repairState(): Promise<RepairState>;
  /** Holds it before its next training step; none begins until it is resumed. */
  pauseRepair(): Promise<RepairState>;
  resumeRepair(): Promise<RepairState>;
  /** What happens from now on, `hello` first, until `signal` is aborted or the server ends the stream. */
  events(signal?: AbortSignal): AsyncGenerator<Message>;
}

/**
 * The API of the server at `url`.
 *
 * @param options.key an API key, where the server has keys
 *
 * @example
 * ```ts
 * const server = connect('http://127.0.0.1:8787');
 * const receipt = await server.erase(['train/12'], { idempotencyKey: 'ticket-4711' });
 * ```
 */
export function connect(url: string, { key }: { key?: string | undefined } = {}): Client {
  const base = url.replace(/\/$/, '');
  const own: Record<string, string> = key === undefined ? {} : { Authorization: `Bearer ${key}` };
  const answered = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetched(base + path, { ...init, headers: { ...own, ...init.headers } });
  const request = async <T>(path: string, init?: RequestInit): Promise<T> =>
    (await (await answered(path, init)).json()) as T;
  const get = <T>(path: string): Promise<T> => request<T>(path);
  const post = <T>(path: string, body?: unknown, headers: Record<string, string> = {}): Promise<T> => {
    const type: Record<string, string> = body === undefined ? {} : { 'Content-Type': 'application/json' };
    return request<T>(path, {
      method: 'POST',
      headers: { ...type, ...headers },
      body: JSON.stringify(body),
    });
  };
  return {
    predict: (inputs, { top } = {}) => post('/v1/predict', { inputs: inputs.map(encoded), top }),
    model: async () => (await get<{ data: [Model] }>('/v1/models')).data[0],
    complete: async (model, prompt, { signal, ...options } = {}) => {
      const response = await answered('/v1/completions', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ model, prompt, stream: true, ...completionOptions(options) }),
        ...(signal && { signal }),
      });
      return textPieces(response);
    },
    status: () => get('/v1/status'),
    erase: (target, { dryRun, evaluate, idempotencyKey } = {}) =>
      post(
        '/v1/erasures',
        { ...('length' in target ? { records: target } : target), dryRun, evaluate },
        idempotencyKey === undefined ? {} : { 'Idempotency-Key': idempotencyKey },
      ),
    receipts: async (limit = 100) =>
      (await get<{ erasures: Erasure[] }>(`/v1/erasures?limit=${limit}`)).erasures.filter(
        (erasure): erasure is Erasure & Receipt => erasure.state !== 'deactivated',
      ),
    receipt: (erasure) => get(`/v1/erasures/${encodeURIComponent(erasure)}`),
    receiptFile: async (erasure) =>
      (await answered(`/v1/erasures/${encodeURIComponent(erasure)}/receipt`)).text(),
    publicKey: async () => (await (await answered('/v1/log/key')).text()).trim(),
    backup: (choice = {}) => post('/v1/backups', choice),
    repair: () => post('/v1/repair'),
    repairState: () => get('/v1/repair'),
    pauseRepair: () => post('/v1/repair/pause'),
    resumeRepair: () => post('/v1/repair/resume'),
    events: async function* (signal) {
      const response = await answered('/v1/events', { signal });
      yield* parseEvents(response.body!);
    },
  };
}

async function fetched(url: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (cause) {
    throw new ServerError(`the server at ${new URL(url).origin} does not answer`, {
      code: 'unreachable',
      status: 0,
      cause,
    });
  }
  if (response.ok) return response;
  const body = (await response.json().catch(() => ({}))) as {
    error?: { message?: string; code?: string; path?: string; param?: string | null };
  };
  const { message = `the server answered ${response.status}`, code = 'http' } = body.error ?? {};
  // OpenAI's paths call the field so.
  const path = body.error?.path ?? body.error?.param ?? undefined;
  const retryAfter = Number(response.headers.get('retry-after')) || undefined;
  throw new ServerError(message, { code, status: response.status, path, retryAfter });
}

/** Where it is to end when that is not said: beyond what any text has. */
const NO_END = 1_000_000;

function completionOptions(options: Omit<ContinueOptions, 'signal'>): object {
  return {
    max_tokens: options.maxTokens ?? NO_END,
    temperature: options.temperature ?? 0,
    top_p: options.topP,
    top_k: options.topK,
    repetition_penalty: options.repetitionPenalty,
    stop: options.stop,
    seed: options.seed ?? 0,
  };
}

async function* textPieces(response: Response): AsyncGenerator<TextPiece, void, undefined> {
  const version = Number(response.headers.get('x-s3t-version'));
  const manifest = response.headers.get('x-s3t-manifest')!;
  for await (const chunk of parseChunks(response.body!)) {
    const { choices, error } = chunk as {
      choices?: { text: string; finish_reason: TextPiece['finish'] }[];
      error?: { message: string; code: string };
    };
    if (error) throw new ServerError(error.message, { code: error.code, status: 503 });
    for (const { text, finish_reason: finish } of choices ?? []) yield { text, finish, version, manifest };
  }
}

function encoded(input: Input): unknown {
  if ('text' in input) return input;
  const { width, height, channels, pixels } = input.image;
  let bytes = '';
  // In pieces: an argument list has a limit.
  for (let at = 0; at < pixels.length; at += 8192)
    bytes += String.fromCharCode(...pixels.subarray(at, at + 8192));
  return { image: { width, height, channels, pixels: btoa(bytes) } };
}
