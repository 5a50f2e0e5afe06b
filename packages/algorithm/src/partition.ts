import { preparedHmac } from './canonical.ts';
import { requireInteger } from './errors.ts';

/** Where a record lives. Shards and slices count from 0. */
export interface Placement {
  shard: number;
  slice: number;
}

export interface PartitionOptions {
  /** From 1 to 2^24. */
  shards: number;
  /** Slices per shard, from 1 to 2^24. */
  slices: number;
  /** A safe integer of at least 0. */
  seed: number;
}

/**
 * The shard and slice of a record: HMAC-SHA-256 of its id under a key that holds the seed, its first 64 bits modulo `shards`, the next 64
 * modulo `slices` (big-endian; the bias is below 2^-40).
 *
 * It looks at the id and nothing else, so no record moves when another leaves or joins: training without a record puts every other one
 * where training with it did. Shard and slice are independent; changing the number of slices moves nobody to another shard.
 *
 * @throws AlgorithmError for options out of range, or an id that is not well-formed Unicode.
 */
export function place(recordId: string, options: PartitionOptions): Placement {
  return placer(options)(recordId);
}

/** {@link place} for many records: checks the options and prepares the key once. */
export function placer(options: PartitionOptions): (recordId: string) => Placement {
  const { shards, slices } = options;
  const draw = lots('s3t-place-1', options);
  return (recordId) => {
    const [first, second] = draw(recordId);
    return { shard: modulo(first, shards), slice: modulo(second, slices) };
  };
}

/** Checks the options, and makes the function that draws a text's two numbers, of 64 bits each, by a keyed hash. */
export function lots(domain: string, options: PartitionOptions): (text: string) => [bigint, bigint] {
  requireInteger('shards', options.shards, 1, 2 ** 24);
  requireInteger('slices', options.slices, 1, 2 ** 24);
  requireInteger('seed', options.seed, 0);
  const hash = preparedHmac(`${domain}:${options.seed}`);
  return (text) => {
    const digest = hash(text);
    return [BigInt(`0x${digest.slice(0, 16)}`), BigInt(`0x${digest.slice(16, 32)}`)];
  };
}

export function modulo(lot: bigint, divisor: number): number {
  return Number(lot % BigInt(divisor));
}

const keyOf = preparedHmac('s3t-record-key-1');
const subjectKeyOf = preparedHmac('s3t-subject-key-1');

/**
 * What ledger and lineage know a record by: HMAC-SHA-256 of its id under a fixed public key, 64 hex digits.
 *
 * The key carries no salt, because stage ids must agree between runs: it hides an id from readers, not from somebody who can guess
 * it. What leaves the ledger after an erasure needs a salted commitment instead.
 *
 * @throws AlgorithmError if the id is not well-formed Unicode.
 */
export function recordKey(recordId: string): string {
  return keyOf(recordId);
}

/**
 * The same for whom a record is about, under another key: a person and a record with one name have different keys. No stage id depends
 * on it; the ledger keeps a salted hash of it.
 *
 * @throws AlgorithmError if the subject is not well-formed Unicode.
 */
export function subjectKey(subject: string): string {
  return subjectKeyOf(subject);
}
