import type { RepairConfig } from './config.ts';
import type { MetricName } from './tasks.ts';

/** One input of a prediction. */
export type Input =
  | { image: { width: number; height: number; channels: 1 | 3; pixels: Uint8Array } }
  /** By field; or the texts alone, in the order of the configuration. */
  | { text: Readonly<Record<string, string>> | readonly string[] | string };

/** What a language model continues: a prompt, the fields of a record but for its response, or a conversation. */
export type Prompt = string | Input | { messages: readonly { role: string; content: string }[] };

export interface LabelScore {
  label: string;
  /** What the shards make of it by the configuration's `ensemble`, 0 to 1: by default the softmax of the mean of their logits. Of a regression the mean of their numbers. */
  score: number;
}

/** The answers to a batch of inputs, and exactly what they were computed with. */
export interface Prediction {
  version: number;
  manifest: string;
  /** The stages that answered, of all shards. */
  stages: readonly string[];
  /** For each input its labels, best first; of a regression "value" alone, with the number as its score. */
  answers: readonly (readonly LabelScore[])[];
}

export interface StageStatus {
  position: number;
  slice: number;
  /** The stage's id. */
  stage: string;
  /** SHA-256 of the adapter's bytes in the store; null while untrained and once destroyed. */
  weights: string | null;
  active: boolean;
  /** How many records it is or will be trained on. */
  records: number;
}

export interface ShardStatus {
  shard: number;
  servedDepth: number;
  /** Null while the shard serves nothing. */
  servedSequence: number | null;
  sequences: readonly { order: readonly number[]; stages: readonly StageStatus[] }[];
}

export interface Status {
  version: number;
  manifest: string;
  shards: readonly ShardStatus[];
  records: number;
  erased: number;
  /** Stages still to be trained: none when training or repair is complete. */
  missing: number;
  /** What waits for a repair, and when it is due. */
  repair: RepairStanding;
  /** Erasures that touched each slice, over all shards. */
  erasuresBySlice: readonly number[];
  /** Expected uniformly random erasures until no shard serves anything (Lemma 1), from a full ensemble. */
  deletionRate: number;
}

/** What waits for a repair, and when it is due by the run's policy. Times are milliseconds since 1970. */
export interface RepairStanding {
  policy: RepairConfig;
  /** Erased records that no complete repair has followed yet. */
  pending: number;
  /** When the first of them was erased; null when none waits. */
  since: number | null;
  isDue: boolean;
  /** When a repair is due if nothing else is erased; null when time alone does not make it so. */
  dueAt: number | null;
}

/** What is measured. A regression has no accuracy. */
export interface Measures {
  /** Part of the labels, or of a language model's tokens, that were right. */
  accuracy?: number;
  /** Matthews' correlation of the classes, -1 to 1, where `evaluation.metric` asks for it. */
  matthews?: number;
  /** Of two classes that of the second, of more the mean over them; where `evaluation.metric` asks for it. */
  f1?: number;
  /** Of a regression, -1 to 1; null where it is undefined, because the answers or the labels are all the same. */
  pearson?: number | null;
  spearman?: number | null;
  meanSquaredError?: number;
  /** Of a language model: exp of the mean cross-entropy of a token. */
  perplexity?: number;
}

export interface Evaluation extends Measures {
  /** The measure that counts for the task. */
  metric: MetricName;
  examples: number;
  version: number;
  shards: readonly (Measures & { shard: number; depth: number })[];
}

/** A piece of what a language model answers, and exactly what computed it. */
export interface GenerationPiece {
  text: string;
  /** Of the last piece: "stop" at the end of a text or a stop string, "length" where no more fitted or was asked for. */
  finish: 'stop' | 'length' | null;
  /** How many tokens the prompt has. A piece is one token of the answer, also where no text became certain with it. */
  promptTokens: number;
  version: number;
  manifest: string;
  /** The stages that answered, of all shards. */
  stages: readonly string[];
}

export interface DeactivatedStage {
  stage: string;
  shard: number;
  sequence: number;
  position: number;
}

export interface Receipt {
  erasure: string;
  /** How many records were erased. */
  records: number;
  deactivated: readonly DeactivatedStage[];
  before: { version: number; manifest: string };
  after: { version: number; manifest: string };
  /** Milliseconds from the request's arrival until it was acknowledged. */
  acknowledgedMs: number;
  receivedAt: string;
  acknowledgedAt: string;
  /** When no stage was missing any more; absent until then. */
  repairedAt?: string;
  /** True for a dry run: nothing was changed. */
  dryRun?: boolean;
  /** Of a dry run that evaluates: how good what would be served then is; null where nothing would be. */
  expected?: Evaluation | null;
  /** Of the same: how deep each shard's stack would be; 0 where a shard would serve nothing. */
  depths?: readonly number[];
  /** True when an earlier request with the same idempotency key made this receipt. */
  repeated?: boolean;
}

/** An erasure that is in force, and whose weights are being destroyed. */
export type UnfinishedErasure = Pick<
  Receipt,
  'erasure' | 'records' | 'deactivated' | 'before' | 'after' | 'receivedAt'
>;

export interface Verification {
  /** Whether something was compared, and no stage differs. Stages may be missing all the same. */
  identical: boolean;
  /** How many stages there were to compare. */
  compared: number;
  /** Ids of stages whose bytes are not what they should be, or that should not be there. */
  differing: readonly string[];
  /** Ids of stages that are not trained yet, or not trained again since an erasure: a repair trains them. */
  missing: readonly string[];
}

export interface ExportOptions {
  shard: number;
  /** How many stages from the top. Default: all that the shard serves. */
  depth?: number;
  /** Write the whole model with the stack merged in, not an adapter. */
  merge?: boolean;
  /** A folder that is not there yet. */
  out: string;
  /** Ends it early, with its reason and nothing left of it. */
  signal?: AbortSignal;
}

/** What an export holds, and what of the run it was made of. */
export interface Export {
  out: string;
  kind: 'adapter' | 'model';
  shard: number;
  depth: number;
  /** Top-down. */
  stages: readonly { stage: string; weights: string }[];
  /** The digest of the base. */
  base: string;
  version: number;
  manifest: string;
}

export interface TrainingSummary {
  trained: number;
  superseded: number;
  seconds: number;
}

/** What happens in a run, in order. */
export type UnlearnerEvent =
  | { type: 'work-started'; stages: number; steps: number }
  | {
      type: 'stage-started';
      stage: string;
      shard: number;
      position: number;
      slices: readonly number[];
      index: number;
      stages: number;
    }
  | {
      type: 'step';
      stage: string;
      step: number;
      steps: number;
      doneSteps: number;
      totalSteps: number;
      loss: number | null;
    }
  | {
      type: 'stage-published';
      stage: string;
      weights: string;
      shard: number;
      position: number;
      version: number;
    }
  | { type: 'stage-superseded'; stage: string; shard: number; position: number }
  | { type: 'work-finished'; trained: number }
  /** `phases` only where the erasure went from its request to its end at one go. */
  | { type: 'erased'; receipt: Receipt; phases?: ErasurePhases }
  /** Nothing is missing any more: what these erasures had cost is trained again. */
  | { type: 'repaired'; erasures: readonly string[]; at: string }
  /** How many files of a backup into the run folder are written, of how many; told at every percent. */
  | { type: 'backup'; done: number; total: number }
  | { type: 'version'; version: number; manifest: string };

export interface WorkOptions {
  /** Only the stages of these shards. Default: all. */
  shards?: readonly number[];
  /** Stops after the current step; what was published stays, and the same call goes on from there. */
  signal?: AbortSignal;
  /** Awaited before each step: work that is paused waits here, and loses nothing. */
  turn?: () => Promise<void> | undefined;
}

/** What stages of a run cost, for plans of others like it. */
export interface RunCosts {
  /** Of the base. */
  layers: number;
  /** Adapters of a layer, and head of a stage, in bytes. */
  layerBytes: number;
  headBytes: number;
  /** Training seconds per record, all passes together, of stages by position. */
  secondsPerRecord: number[];
}

/** Where a record lies. */
export interface RecordPlace {
  id: string;
  shard: number;
  slice: number;
}

/** What to erase. */
export interface ErasureTarget {
  /** Ids of records. */
  records?: readonly string[];
  /** Whom records are about: all there are of each goes. Needs `data.subject` in the configuration. */
  subjects?: readonly string[];
}

/**
 * When the phases of an erasure began and ended, milliseconds since 1970. `transaction` makes it durable, `swap` takes the stages out of what
 * answers, `drain` lets go of older answers, `destroy` does away with the weights in the store and on the device (these two go side by
 * side), `receipt` writes the acknowledgement.
 */
export type ErasurePhases = Partial<
  Record<'transaction' | 'swap' | 'drain' | 'destroy' | 'receipt', readonly [start: number, end: number]>
>;

export interface EraseOptions {
  dryRun?: boolean;
  /**
   * Of a dry run: measure what would be served after it, too. Costs a pass over the evaluation data, and fails with `unavailable` when records
   * are erased meanwhile.
   */
  evaluate?: boolean;
  idempotencyKey?: string;
  /** When the request arrived, milliseconds since 1970. Default: now. */
  receivedAt?: number;
  /**
   * For whoever sends answers on: called once nothing answers from what was erased any more, with the version that answers now.
   * The erasure is acknowledged when it has resolved: no older answer is on its way then.
   */
  drain?: (version: number) => Promise<void>;
}
