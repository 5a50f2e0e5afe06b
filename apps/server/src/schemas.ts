// The shapes of what comes in and goes out. Those that come in are checked with these; all of them are the OpenAPI document.
import type {
  Backup,
  ConsistencyProof,
  Evaluation,
  Receipt,
  Status,
  UnfinishedErasure,
} from '@s3t/unlearner';
import * as v from 'valibot';
import type { Answer } from './batcher.ts';
import type { Point } from './history.ts';
import type { Options } from './options.ts';
import type { RepairState } from './repair.ts';
import { textSchema as oneText } from './text-limits.ts';

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const digest = v.pipe(v.string(), v.description('SHA-256, hex'));

export const pixelNumbers: v.GenericSchema<number[]> = v.custom<number[]>(
  isPixels,
  'expected integers from 0 to 255',
);

/** One loop instead of a schema per number: an image has 150,000 of them. */
function isPixels(value: unknown): boolean {
  if (!Array.isArray(value)) return false;
  for (const item of value) if (!Number.isInteger(item) || item < 0 || item > 255) return false;
  return true;
}

const side = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(8192));
const imageSchema = v.pipe(
  v.strictObject({
    width: side,
    height: side,
    channels: v.optional(v.picklist([1, 3])),
    pixels: v.union([v.string(), pixelNumbers], 'expected integers from 0 to 255, or their base64'),
  }),
  v.description(
    'Row by row, channels last. Without `channels` their number follows from the number of pixels.',
  ),
);
/** Texts by field, or in the order of the run's configuration. */
export type TextBody = string | string[] | Record<string, string>;
/** One input as it is sent: its texts alone, or either field, not both. */
export type InputBody = string | string[] | { image?: ImageBody | undefined; text?: TextBody | undefined };
export interface ImageBody {
  width: number;
  height: number;
  channels?: 1 | 3 | undefined;
  /** Numbers, or the base64 of bytes. */
  pixels: string | number[];
}

const texts = v.pipe(v.array(oneText), v.minLength(1), v.maxLength(2));
const textSchema = v.pipe(
  v.union(
    [oneText, texts, v.record(v.string(), oneText)],
    'expected a text, a pair of texts, or texts by field',
  ),
  v.description("The run's texts by field, or in the order of its configuration."),
);

const inputSchema: v.GenericSchema<InputBody> = v.union(
  [
    oneText,
    texts,
    v.pipe(
      v.strictObject({ image: v.optional(imageSchema), text: v.optional(textSchema) }),
      v.check(
        (input) => (input.image === undefined) !== (input.text === undefined),
        'expected either image or text',
      ),
    ),
  ],
  'expected a text, a pair of texts, or an object with text or image',
);

export function predictSchema(options: Options): v.GenericSchema<PredictBody> {
  return v.strictObject({
    inputs: v.pipe(v.array(inputSchema), v.minLength(1), v.maxLength(options.maxBatch)),
    top: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(10_000))),
  });
}
export interface PredictBody {
  inputs: InputBody[];
  /** How many labels per answer, best first. */
  top?: number | undefined;
}

const recordId = v.pipe(v.string(), v.minLength(1), v.maxLength(512));
export function eraseSchema(options: Options): v.GenericSchema<EraseBody> {
  const ids = v.optional(v.pipe(v.array(recordId), v.minLength(1), v.maxLength(options.maxRecords)));
  return v.pipe(
    v.strictObject({
      records: v.pipe(ids, v.description('Ids of records, as the training data names them.')),
      subject: v.pipe(
        v.optional(recordId),
        v.description(
          'Whom records are about: all there are of it go. Needs data.subject in the configuration.',
        ),
      ),
      subjects: v.pipe(ids, v.description('Several of them.')),
      dryRun: v.optional(v.boolean()),
      evaluate: v.pipe(
        v.optional(v.boolean()),
        v.description(
          'Of a dry run: measure what would be served after it, too. Takes a pass over the evaluation data, and gives way to erasures.',
        ),
      ),
    }),
    v.check(
      ({ records, subject, subjects }) => (records ?? subject ?? subjects) !== undefined,
      'expected records, subject or subjects',
    ),
    v.forward(
      v.check(
        ({ dryRun, evaluate }) => evaluate !== true || dryRun === true,
        'expected dryRun: true beside it',
      ),
      ['evaluate'],
    ),
  );
}
export interface EraseBody {
  /** Ids, as the training data names them. */
  records?: string[] | undefined;
  /** Whom records are about. */
  subject?: string | undefined;
  subjects?: string[] | undefined;
  /** Answer what an erasure would do, and change nothing. */
  dryRun?: boolean | undefined;
  /** Measure what a dry run would leave. */
  evaluate?: boolean | undefined;
}

/** RFC 8941 allows more, but everybody sends a UUID. */
export const idempotencyKeySchema: v.GenericSchema<string> = v.pipe(
  v.string(),
  v.regex(/^[\x21-\x7e]{1,255}$/, 'expected 1 to 255 printable ASCII characters'),
);

export const limitSchema: v.GenericSchema<string | undefined, number> = v.optional(
  v.pipe(v.string(), v.regex(/^[1-9]\d{0,3}$/, 'expected 1 to 9999'), v.transform(Number)),
  '100',
);

export const predictionSchema: v.GenericSchema<Answer> = v.object({
  version: count,
  manifest: digest,
  answers: v.pipe(
    v.array(v.array(v.object({ label: v.string(), score: v.number() }))),
    v.description(
      'For each input its labels, best first; a score is what the shards make of it by the configuration, by default the softmax of the mean of their logits, rounded. Of a regression "value" alone, with the number as its score.',
    ),
  ),
});

const stageSchema = v.object({
  position: count,
  slice: count,
  stage: digest,
  weights: v.pipe(v.nullable(digest), v.description('Null while untrained, and once destroyed.')),
  active: v.boolean(),
  records: count,
});
const repairPolicy = v.object({
  policy: v.picklist(['at-once', 'batch', 'exhaustion', 'manual']),
  count: v.optional(count),
  minutes: v.optional(v.number()),
});
export const statusSchema: v.GenericSchema<Status> = v.object({
  version: count,
  manifest: digest,
  shards: v.array(
    v.object({
      shard: count,
      servedDepth: count,
      servedSequence: v.nullable(count),
      sequences: v.array(v.object({ order: v.array(count), stages: v.array(stageSchema) })),
    }),
  ),
  records: count,
  erased: count,
  missing: v.pipe(count, v.description('Stages still to be trained.')),
  repair: v.object({
    policy: repairPolicy,
    pending: v.pipe(count, v.description('Erased records that no complete repair has followed yet.')),
    since: v.pipe(v.nullable(count), v.description('When the first of them was erased, ms since 1970.')),
    isDue: v.boolean(),
    dueAt: v.pipe(v.nullable(count), v.description('When a repair is due if nothing else is erased.')),
  }),
  erasuresBySlice: v.pipe(
    v.array(count),
    v.description('Erasures that touched each slice, over all shards.'),
  ),
  deletionRate: v.pipe(v.number(), v.description('Expected random erasures until no shard serves anything.')),
});

const served = v.object({ version: count, manifest: digest });
const measures = {
  accuracy: v.optional(v.number()),
  matthews: v.optional(v.number()),
  f1: v.optional(v.number()),
  pearson: v.optional(v.nullable(v.number())),
  spearman: v.optional(v.nullable(v.number())),
  meanSquaredError: v.optional(v.number()),
  perplexity: v.optional(v.number()),
};
const evaluationSchema: v.GenericSchema<Evaluation> = v.object({
  ...measures,
  metric: v.pipe(
    v.picklist(['accuracy', 'matthews', 'f1', 'pearson', 'spearman', 'meanSquaredError', 'perplexity']),
    v.description('The measure that counts for the task.'),
  ),
  examples: count,
  version: count,
  shards: v.array(v.object({ ...measures, shard: count, depth: count })),
});
const erasureEntries = {
  erasure: v.string(),
  records: count,
  deactivated: v.array(v.object({ stage: digest, shard: count, sequence: count, position: count })),
  before: served,
  after: served,
  receivedAt: v.string(),
  repairedAt: v.optional(v.pipe(v.string(), v.description('When no stage was missing any more.'))),
};
export const receiptSchema: v.GenericSchema<Receipt> = v.object({
  ...erasureEntries,
  acknowledgedMs: v.number(),
  acknowledgedAt: v.string(),
  dryRun: v.optional(v.boolean()),
  expected: v.pipe(
    v.optional(v.nullable(evaluationSchema)),
    v.description(
      'Of a dry run with `evaluate`: what is measured of the ensemble that would be served; null where nothing would be.',
    ),
  ),
  depths: v.pipe(
    v.optional(v.array(count)),
    v.description('Of the same: how deep each shard would be served.'),
  ),
  repeated: v.optional(v.boolean()),
});

/** An erasure that the ledger holds, and how far it is. */
export interface Erasure
  extends UnfinishedErasure,
    Partial<Pick<Receipt, 'acknowledgedMs' | 'acknowledgedAt' | 'repairedAt'>> {
  state: 'deactivated' | 'completed' | 'repaired';
}
export const erasureSchema: v.GenericSchema<Erasure> = v.object({
  ...erasureEntries,
  acknowledgedMs: v.optional(v.number()),
  acknowledgedAt: v.optional(v.string()),
  state: v.pipe(
    v.picklist(['deactivated', 'completed', 'repaired']),
    v.description(
      '`deactivated`: nothing that learnt from the records answers, and its weights are being destroyed. `completed`: they are destroyed, and that is acknowledged. `repaired`: and no stage is missing any more.',
    ),
  ),
});
export const erasuresSchema: v.GenericSchema<{ erasures: Erasure[] }> = v.object({
  erasures: v.array(erasureSchema),
});

/** What `s3t verify --receipt` checks; see docs/receipts.md. */
export const receiptFileSchema: v.GenericSchema<unknown> = v.object({
  format: v.literal('s3t-receipt-1'),
  publicKey: v.string(),
  envelope: v.object({
    payloadType: v.string(),
    payload: v.pipe(v.string(), v.description('Base64 of an in-toto Statement.')),
    signatures: v.array(v.object({ keyid: v.string(), sig: v.string() })),
  }),
  entry: v.object({ seq: count, kind: v.string(), at: count, payload: v.unknown(), previous: digest }),
  inclusion: v.object({ index: count, size: count, hashes: v.array(digest) }),
  checkpoint: v.pipe(v.string(), v.description('The log right after the entry, as a signed note.')),
});

/** How many entries a log had. */
export const logSizeSchema: v.GenericSchema<string, number> = v.pipe(
  v.string('expected a number of entries'),
  v.regex(/^[1-9]\d{0,14}$/, 'expected a number of entries'),
  v.transform(Number),
);
export const consistencySchema: v.GenericSchema<ConsistencyProof> = v.object({
  from: count,
  to: count,
  hashes: v.array(digest),
});

export const repairSchema: v.GenericSchema<RepairState> = v.object({
  running: v.boolean(),
  paused: v.pipe(v.boolean(), v.description('It waits, before its next step or before it begins.')),
  done: v.pipe(count, v.description('Training steps.')),
  total: count,
  failed: v.pipe(v.nullable(v.string()), v.description('The code of what ended the last repair early.')),
  policy: v.pipe(repairPolicy, v.description('When repairs begin by themselves.')),
  pending: v.pipe(count, v.description('Erased records that no complete repair has followed yet.')),
  dueAt: v.pipe(
    v.nullable(v.string()),
    v.description('When the policy wants the next repair if nothing else is erased.'),
  ),
});

export const makeBackupSchema: v.GenericSchema<{ signingKey?: boolean }> = v.strictObject({
  signingKey: v.exactOptional(
    v.pipe(v.boolean(), v.description('Whether the key that signs receipts is in it. Default true.')),
  ),
});

export const backupSchema: v.GenericSchema<Backup> = v.object({
  run: v.pipe(v.string(), v.description("The run's id.")),
  at: v.string(),
  version: count,
  manifest: v.string(),
  erasures: v.pipe(count, v.description('How many the run had had.')),
  files: count,
  bytes: count,
  signingKey: v.boolean(),
});

export const pointSchema: v.GenericSchema<Point> = v.object({
  at: v.pipe(count, v.description('Milliseconds since 1970: from then on.')),
  version: count,
  depths: v.pipe(v.array(count), v.description('Served depth of each shard.')),
  accuracy: v.pipe(
    v.nullable(v.number()),
    v.description('On the evaluation data; null where it was not measured.'),
  ),
});
export const historySchema: v.GenericSchema<{ points: Point[] }> = v.object({ points: v.array(pointSchema) });

export const healthSchema: v.GenericSchema<{ status: string }> = v.object({ status: v.string() });

export const problemSchema: v.GenericSchema<unknown> = v.object({
  error: v.object({ message: v.string(), code: v.string(), path: v.optional(v.string()) }),
});
