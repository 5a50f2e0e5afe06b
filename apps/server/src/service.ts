import type {
  Backup,
  BackupChoice,
  ConsistencyProof,
  ContinueOptions,
  EraseOptions,
  ErasureTarget,
  GenerationPiece,
  Input,
  Prediction,
  Prompt,
  Receipt,
  RepairStanding,
  RunConfig,
  Status,
  TrainingSummary,
  UnfinishedErasure,
  UnlearnerEvent,
  WorkOptions,
} from '@s3t/unlearner';
import type { Point } from './history.ts';

/**
 * What the HTTP app needs from a run: the part of `Unlearner` it calls. Declared here so that tests can control time with a
 * stand-in, and so that the app does not care who holds the GPU.
 */
export interface Service {
  /** In the order of the model's outputs. */
  readonly labels: readonly string[];
  /** What the run does: a `causal-lm` continues texts, the others predict. */
  readonly task: RunConfig['task'];
  /** What an input is. */
  readonly reads: 'image' | 'text';
  /** Of its configuration the fields that the data's inputs come from. */
  readonly config: { readonly data: Pick<RunConfig['data'], 'image' | 'text'> };
  /** Inputs that are computed together. Left out, any number may be. */
  readonly batchSize?: number;
  /** When the run was created, milliseconds since 1970. */
  readonly createdAt: number;
  /** The version that answers now, null when nothing is served. Changes in the tick in which an erasure's swap takes effect. */
  readonly servedVersion: number | null;
  /**
   * The oldest version whose texts may still go on: of it and those since every stage is active. Null when nothing is served. Changes in
   * the tick in which an erasure's swap takes effect.
   */
  readonly validSince: number | null;
  /** How deep each shard's stack is that answers now; 0 where a shard does not. Costs nothing, unlike a status. */
  readonly servedDepths: readonly number[];
  /** Throws an error with code `unavailable` when no shard serves anything. */
  predict(inputs: readonly Input[]): Promise<Prediction>;
  /** Continues a text, a token a piece. Throws an error with code `unavailable` when stages are deactivated meanwhile. */
  generate(prompt: Prompt, options?: ContinueOptions): AsyncGenerator<GenerationPiece, void, undefined>;
  /** Where the run stands, by its ledger: unlike a status it costs little, however many records there are. */
  version(): Promise<{ version: number; manifest: string }>;
  status(): Promise<Status>;
  /** Resolves once the erasure is durable, in force and its weights are gone. */
  erase(target: ErasureTarget, options?: EraseOptions): Promise<Receipt>;
  /** The receipt of an erasure, null when there is none. */
  receipt(erasure: string): Promise<Receipt | null>;
  /** The receipt of the erasure with this idempotency key, null when there is none or it is not finished. */
  receiptFor(idempotencyKey: string): Promise<Receipt | null>;
  /** Erasures that are in force and not acknowledged. */
  unfinished(): Promise<readonly UnfinishedErasure[]>;
  /** Receipts of all erasures of the run, oldest first. Left out, only those since the app started are listed. */
  receipts?(): Promise<readonly Receipt[]>;
  readonly log: Log;
  /** What waits for a repair, and when the run's policy wants one. */
  repairStanding(): Promise<RepairStanding>;
  /** Measures what is served on the run's evaluation data. Left out, the app cannot. */
  evaluate?(): Promise<{ accuracy?: number; version: number }>;
  /** Trains what is missing. */
  repair(options?: WorkOptions): Promise<TrainingSummary>;
  /** How deep each shard's stack was in the newest `limit` versions, oldest first. */
  history(limit: number): Promise<Omit<Point, 'accuracy'>[]>;
  /** What `note` has kept, also before a restart: values by names that begin with `prefix`. */
  notes(prefix: string): Promise<Map<string, unknown>>;
  /** Keeps a value; null takes it away. Durable once it resolves. */
  note(name: string, value: unknown): Promise<void>;
  /** Leaves a backup in the run folder. Throws an error with code `unavailable` when records are erased meanwhile. */
  stageBackup(choice?: Omit<BackupChoice, 'onFile'>): Promise<Backup>;
  /**
   * Calls `listener` when the run is gone from under the app, with nothing served any more: it is opened again once what the listeners gave has
   * resolved. Returns how to stop. Left out, the run ends with the app.
   */
  onLost?(listener: () => Promise<void>): () => void;
  /** Gives up on what waits for a run that is gone: the app closes, and must not wait until the run is open again. */
  end?(): void;
  /** Calls `listener` for everything that happens in the run; returns how to stop. */
  on(listener: (event: UnlearnerEvent) => void): () => void;
}

/** What the app needs of a run's log: the part of `SignedLog` it calls. */
export interface Log {
  /** The key that checks the rest, as one line. */
  publicKey(): Promise<string>;
  /** Signs bytes with that key: 64 of them come back. */
  sign(data: Uint8Array<ArrayBuffer>): Promise<Uint8Array>;
  /** The log's size and root, as a signed note. */
  checkpoint(): Promise<string>;
  /** Throws an error with code `usage` for sizes the log never had. */
  consistency(from: number, to?: number): Promise<ConsistencyProof>;
  /** The text of a receipt's file, null when the erasure has none. */
  receiptFile(erasure: string): Promise<string | null>;
}
