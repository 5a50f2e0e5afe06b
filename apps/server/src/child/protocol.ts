import type {
  BackupChoice,
  ContinueOptions,
  EraseOptions,
  ErasureTarget,
  GenerationPiece,
  Input,
  Prompt,
  UnlearnerEvent,
} from '@s3t/unlearner';
import type { Service } from '../service.ts';

/** Two ends of a pipe that keeps order: structured clones go in, and come out one by one. */
export interface Port {
  send(message: unknown): void;
  /** Called once. */
  receive(listener: (message: unknown) => void): void;
}

/** What never changes while a run is open. */
export type Facts = Pick<Service, 'labels' | 'task' | 'reads' | 'config' | 'batchSize' | 'createdAt'> & {
  /** Which of the optional parts the run has. */
  has: { receipts: boolean; evaluate: boolean };
};

/** What the app reads without waiting. Every message to the app carries it, as it stood when the message was sent. */
export type Standing = Pick<Service, 'servedVersion' | 'validSince' | 'servedDepths'>;

/** The calls that are answered once. */
export type Call =
  | { method: 'predict'; args: [readonly Input[]] }
  | { method: 'version' | 'status' | 'receipts' | 'unfinished' | 'evaluate' | 'repairStanding'; args: [] }
  | { method: 'receipt' | 'receiptFor' | 'log.receiptFile'; args: [string] }
  | { method: 'publishUrl'; args: [url: string, server: number] }
  | { method: 'erase'; args: [ErasureTarget, Omit<EraseOptions, 'drain'>, { drains: boolean }] }
  | { method: 'repair'; args: [{ shards?: readonly number[] }, { turns: boolean }] }
  | { method: 'stageBackup'; args: [Pick<BackupChoice, 'signingKey'>] }
  | { method: 'history'; args: [number] }
  | { method: 'notes'; args: [string] }
  | { method: 'note'; args: [string, unknown] }
  | { method: 'log.publicKey' | 'log.checkpoint'; args: [] }
  | { method: 'log.sign'; args: [Uint8Array<ArrayBuffer>] }
  | { method: 'log.consistency'; args: [number, number | undefined] };

/** From the app to the run. */
export type ToRun =
  | { type: 'call'; id: number; call: Call }
  /** Begins a text: nothing of it is computed before its first `next`. */
  | { type: 'generate'; id: number; prompt: Prompt; options: Omit<ContinueOptions, 'signal'> }
  /** Asks for one more piece: never more are on their way than the app reads. */
  | { type: 'next'; id: number }
  /** Nobody waits for this call or text any more. */
  | { type: 'cancel'; id: number }
  /** What an `ask` waited for has happened, or failed. */
  | { type: 'told'; id: number; error?: Failure };

/** From the run to the app, instead of all else: the run could not be opened. */
export interface Refusal {
  type: 'refusal';
  error: Failure;
}

/** From the run to the app. */
export type ToApp = Standing &
  (
    | { type: 'open'; facts: Facts }
    | { type: 'event'; event: UnlearnerEvent }
    | { type: 'result'; id: number; value: unknown }
    | { type: 'failure'; id: number; error: Failure }
    | { type: 'piece'; id: number; piece: IteratorResult<GenerationPiece, void> }
    /** The erasure `call` waits until the app has let go of answers older than `drain`, or the repair `call` for its next turn. */
    | { type: 'ask'; id: number; call: number; drain?: number }
  );

/** An error, with what `problemOf` reads of it. A structured clone of an error loses its code. */
export interface Failure {
  name: string;
  message: string;
  stack?: string;
  code?: string;
  indexes?: readonly number[];
  cause?: Failure;
}

export function failureOf(error: unknown): Failure {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) };
  const { name, message, stack, cause } = error;
  const failure: Failure = { name, message, stack };
  if ('code' in error && typeof error.code === 'string') failure.code = error.code;
  if ('indexes' in error && Array.isArray(error.indexes)) failure.indexes = error.indexes;
  if (cause instanceof Error) failure.cause = failureOf(cause);
  return failure;
}

export function errorOf({ message, cause, ...rest }: Failure): Error {
  const options = cause === undefined ? undefined : { cause: errorOf(cause) };
  return Object.assign(new Error(message, options), rest);
}
