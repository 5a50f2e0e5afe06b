// What the API sends, as far as the page reads it.

export interface Stage {
  position: number;
  slice: number;
  stage: string;
  weights: string | null;
  active: boolean;
  records: number;
}
export interface Sequence {
  order: number[];
  stages: Stage[];
}
export interface Shard {
  shard: number;
  servedDepth: number;
  servedSequence: number | null;
  sequences: Sequence[];
}
export interface Status {
  version: number;
  manifest: string;
  shards: Shard[];
  records: number;
  erased: number;
  missing: number;
}
export interface Place {
  shard: number;
  sequence: number;
  position: number;
}
export interface Deactivated extends Place {
  stage: string;
}
export interface Served {
  version: number;
  manifest: string;
}
export interface Receipt {
  erasure: string;
  records: number;
  deactivated: Deactivated[];
  before: Served;
  after: Served;
  acknowledgedMs: number;
  receivedAt: string;
  acknowledgedAt: string;
  /** Of a dry run that was asked for it; null where nothing would be served. */
  expected?: Evaluation | null;
}
/** What was measured on the evaluation data. */
export type Evaluation = { metric: string; examples: number } & Partial<Record<string, number | null>>;
export interface RepairState {
  running: boolean;
  paused: boolean;
  done: number;
  total: number;
  failed: string | null;
  policy: { policy: string };
  /** Erased records that no complete repair has followed yet. */
  pending: number;
  /** When the policy wants the next one; null when time alone does not make it due. */
  dueAt: string | null;
}
/** How the run stood from `at` on. */
export interface Point {
  /** Milliseconds since 1970. */
  at: number;
  version: number;
  /** Served depth of each shard. */
  depths: number[];
  /** On the evaluation data; null where it was not measured. */
  accuracy: number | null;
}
export interface Score {
  label: string;
  score: number;
}
export interface Answer extends Served {
  answers: Score[][];
}
/** What to erase. */
export interface Target {
  records?: string[];
  subjects?: string[];
}
