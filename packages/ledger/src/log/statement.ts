// What a receipt says: an in-toto Statement v1 about the ensemble that serves after an erasure.
// https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
import { type CanonicalValue, canonicalJson } from '@s3t/algorithm';
import * as v from 'valibot';

export const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1';
export const PREDICATE_TYPE = 'urn:s3t:erasure:v1';
/** The type of an envelope's payload. */
export const PAYLOAD_TYPE = 'application/vnd.in-toto+json';

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const digest = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 in hex'));
const sha256 = v.object({ sha256: digest });
const time = v.pipe(v.string(), v.isoTimestamp());
const served = v.object({ version: count, manifest: sha256 });

/** Fields that a later version adds are let through, as in-toto asks: their signer vouches for them. */
export const statementSchema: v.GenericSchema<ErasureStatement> = v.object({
  _type: v.literal(STATEMENT_TYPE),
  subject: v.tuple([v.object({ name: v.string(), digest: sha256 })]),
  predicateType: v.literal(PREDICATE_TYPE),
  predicate: v.object({
    log: v.string(),
    erasure: v.string(),
    request: sha256,
    records: v.object({ count, commitments: v.array(digest) }),
    times: v.object({ received: time, acknowledged: time, destroyed: time, repaired: v.optional(time) }),
    deactivated: v.array(
      v.object({ stage: digest, weights: sha256, shard: count, sequences: v.array(count), position: count }),
    ),
    before: served,
    after: served,
    repaired: v.optional(served),
    setting: sha256,
    base: sha256,
    kernels: sha256,
    software: v.object({ name: v.string(), version: v.string() }),
    device: v.object({ class: v.string(), name: v.string() }),
    limits: v.array(v.string()),
  }),
});

interface Sha256 {
  sha256: string;
}
interface Served {
  version: number;
  manifest: Sha256;
}

/** Digests are lower-case hex SHA-256, times ISO 8601 in UTC; shards, sequences and positions count from 0. */
export interface ErasureStatement {
  _type: typeof STATEMENT_TYPE;
  /** The manifest after the erasure: what answers say they were computed with. */
  subject: [{ name: string; digest: Sha256 }];
  predicateType: typeof PREDICATE_TYPE;
  predicate: {
    /** The log's origin. */
    log: string;
    erasure: string;
    /** Digest of the request: of the sorted commitments of its records. */
    request: Sha256;
    /** HMACs of the records' keys under the run's secret salt. */
    records: { count: number; commitments: string[] };
    /** `repaired`: when no stage was missing any more. A statement made at the acknowledgement has none. */
    times: { received: string; acknowledged: string; destroyed: string; repaired?: string | undefined };
    /** The stages that had learnt from the records, by id, with the digest of the weights. */
    deactivated: {
      stage: string;
      weights: Sha256;
      shard: number;
      sequences: number[];
      position: number;
    }[];
    before: Served;
    after: Served;
    /** What was served at `times.repaired`. */
    repaired?: Served | undefined;
    /** Everything but their lineage that the stages of the run depend on. */
    setting: Sha256;
    base: Sha256;
    kernels: Sha256;
    software: { name: string; version: string };
    /** The adapter that the ensemble ran on. */
    device: { class: string; name: string };
    /** What is not claimed. */
    limits: string[];
  };
}

/** The statement as it is hashed into the log, and signed. */
export function statementText(statement: ErasureStatement): string {
  return canonicalJson(statement as unknown as CanonicalValue);
}

/** The statement of an erasure once all that it had cost is trained again: the one of its acknowledgement, and when that was. */
export function repairedStatement(
  acknowledged: string,
  { at, served }: { at: number; served: { version: number; manifest: string } },
): string {
  const { predicate, ...statement }: ErasureStatement = JSON.parse(acknowledged);
  return statementText({
    ...statement,
    predicate: {
      ...predicate,
      times: { ...predicate.times, repaired: new Date(at).toISOString() },
      repaired: { version: served.version, manifest: { sha256: served.manifest } },
    },
  });
}
