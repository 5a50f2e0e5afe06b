// What goes in and out of the ledger. Times are milliseconds since 1970; digests are lower-case hex SHA-256; shards, slices,
// sequences and positions count from 0.
import type { LogEntry } from './log/entry.ts';

/** A JSON value's digest and itself: what the ensemble is made of right now. */
export interface DigestedManifest {
  digest: string;
  manifest: unknown;
}

/** Computes the manifest of the ensemble the active stages give. Called inside a transaction: pure and synchronous. */
export type ManifestOf = (active: ActiveStage[]) => DigestedManifest;

/** A record as the ledger knows it: never its id, never its content. */
export interface StoredRecord {
  /** Keyed digest of the record's id. */
  key: string;
  /** Digest of its content. */
  digest: string;
  shard: number;
  slice: number;
  /** Keyed digest of whom it is about. Given at the creation of a run, and never given back. */
  subject?: string | undefined;
}

export interface RunRow {
  id: string;
  config: unknown;
  /** Canonical JSON of everything stage ids depend on. */
  setting: string;
  /** SHA-256 of `setting`. */
  settingDigest: string;
  shards: number;
  slices: number;
  /** Slice orders, the same in every shard. */
  sequences: number[][];
  /** Digest of the base model. */
  base: string;
  createdAt: number;
}

export interface CreateRun {
  config: unknown;
  setting: string;
  shards: number;
  slices: number;
  sequences: number[][];
  base: string;
  records: Iterable<StoredRecord> | AsyncIterable<StoredRecord>;
  /** Gives version 0 from no stages; left out, the function given to `openLedger` or `useManifest`. */
  manifest?: ManifestOf;
  at?: number;
}

export type StageState = 'active' | 'deactivated' | 'destroyed';

export interface Stage {
  /** SHA-256 of the stage's canonical description. */
  id: string;
  shard: number;
  position: number;
  /** The slices of its lineage, in order: `position + 1` of them. */
  slices: number[];
  /** The sequences of the shard that share it. */
  sequences: number[];
  /** The stage before it; null at position 0. */
  parent: string | null;
  /** Caller's JSON: the slice digests in order. */
  lineage: unknown;
  /** Digest of its file in the adapter store. */
  weights: string;
  /** How many records it was trained on (those of its last slice). */
  records: number;
  state: StageState;
  /** The erasure that deactivated it. */
  erasure: string | null;
  publishedAt: number;
  deactivatedAt: number | null;
  destroyedAt: number | null;
}

export type ActiveStage = Stage & { state: 'active' };

export interface PublishStage {
  id: string;
  shard: number;
  position: number;
  slices: number[];
  sequences: number[];
  parent: string | null;
  lineage: unknown;
  weights: string;
  records: number;
  /** Revisions of `slices`, in the same order, read before the records the stage was trained on. */
  guard: number[];
  manifest?: ManifestOf;
  at?: number;
}

export type Published =
  | { published: true; repeated: boolean; version: number; manifest: string }
  /** An erasure touched the lineage since the training was planned: the bytes must be thrown away. */
  | { published: false; reason: 'superseded' };

export interface VersionRow {
  version: number;
  digest: string;
  manifest: unknown;
  /** `created`, `publish:<stage>` or `erase:<erasure>`. */
  reason: string;
  at: number;
}

export interface Erase {
  /** Keys of the records; doubles count once. */
  keys: string[];
  /** Keys of subjects: all their records go too. */
  subjects?: string[];
  /** Digest of the request's body. */
  requestDigest: string;
  receivedAt: number;
  idempotencyKey?: string;
  /** Compute the same answer and change nothing. The erasure id is the one a real request would get now; it is not reserved. */
  dryRun?: boolean;
  manifest?: ManifestOf;
  at?: number;
  /** The erasure's id where it is carried out again, as the journal tells it. */
  id?: string;
}

export interface DeactivatedStage {
  stage: string;
  shard: number;
  sequences: number[];
  position: number;
  slices: number[];
  weights: string;
}

export interface Erased {
  erasure: string;
  /** How many records went. */
  records: number;
  /** Salted commitments of the erased keys, sorted. */
  commitments: string[];
  deactivated: DeactivatedStage[];
  /** `manifest` is the digest. Equal where the erasure touched no active stage. */
  before: { version: number; manifest: string };
  after: { version: number; manifest: string };
  /** True when the same request was answered before: this is that answer. */
  repeated: boolean;
  dryRun: boolean;
}

/** A record that has just gone. Its key stands in no table any more. */
export interface GoneRecord {
  key: string;
  shard: number;
  slice: number;
}

/** What an erasure has done, and what of that nobody keeps. */
export interface ErasedNow extends Erased {
  /** Empty where the answer is repeated. */
  gone: readonly GoneRecord[];
  /** The stages that are left, as the version `after` has them; null where the answer is repeated. */
  active: readonly ActiveStage[] | null;
}

/** What the journal holds of an erasure. */
export type Journaled = Pick<ErasureRow, 'id' | 'requestDigest' | 'receivedAt' | 'result'>;

export interface ErasureRow {
  id: string;
  idempotencyKey: string | null;
  requestDigest: string;
  records: number;
  /** `in_progress`: erased, but old weights may still exist. `completed`: destroyed and acknowledged. */
  state: 'in_progress' | 'completed';
  receivedAt: number;
  committedAt: number;
  acknowledgedAt: number | null;
  destroyedAt: number | null;
  result: Erased;
  receipt: unknown;
  /** The log's entry of its acknowledgement, and the text whose digest that holds; null before, and for the oldest erasures. */
  acknowledgedSeq: number | null;
  statement: string | null;
  /** When all that it had cost was trained again, and the log's entry that says so; null until then. */
  repairedAt: number | null;
  repairedSeq: number | null;
}

/** The completed erasures that no complete repair has followed: how many records they took, and when the first was committed. */
export interface AwaitingRepair {
  records: number;
  since: number | null;
}

/** A moment at which no stage was missing. */
export interface Repaired {
  at: number;
  /** What was served then; `manifest` is the digest. */
  served: { version: number; manifest: string };
}

export interface Entry extends LogEntry {
  hash: string;
}

export interface Counts {
  /** Records that remain. */
  records: number;
  erased: number;
  /** Remaining records, `[shard][slice]`. */
  slices: number[][];
}
