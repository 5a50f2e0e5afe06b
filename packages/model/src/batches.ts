// Which records make a batch, and how long its rows are. A text padded to 128 tokens costs several times one padded to 32, so texts of
// about one length are learnt from together. Everything here follows from the records of a lineage and their order alone.

/** The shortest length that texts are padded to: below it a device is not full anyway. */
const SHORTEST = 16;

/** Records that are computed together, padded to one length. */
export interface Batch {
  /** Numbers of the records, at most as many as a batch has rows. */
  records: number[];
  /** Tokens of each row. */
  tokens: number;
}

/** The lengths that texts are padded to unless it is said: powers of two from 16 on, and the most that a text may have. */
export function defaultBuckets(tokens: number): number[] {
  const buckets: number[] = [];
  for (let length = SHORTEST; length < tokens; length *= 2) buckets.push(length);
  return [...buckets, tokens];
}

/** The shortest of the lengths, which rise, that holds `tokens`. */
export function bucketFor(buckets: readonly number[], tokens: number): number {
  return buckets.find((length) => length >= tokens) ?? buckets.at(-1)!;
}

/**
 * Cuts an epoch into batches of records whose texts are padded to the same length. Records keep their order within a length, and
 * a batch comes where its last record stands in the epoch. What fills no batch is put together at the end, short ones first, so that
 * there are as many batches as without lengths.
 * @param order of the records in the epoch
 * @param tokensOf to how many tokens a record is padded
 */
export function batchesOf(
  order: ArrayLike<number>,
  tokensOf: (record: number) => number,
  batchSize: number,
): Batch[] {
  const batches: Batch[] = [];
  const open = new Map<number, number[]>();
  for (let i = 0; i < order.length; i++) {
    const record = order[i]!;
    const tokens = tokensOf(record);
    const records = open.get(tokens) ?? [];
    open.set(tokens, records);
    records.push(record);
    if (records.length < batchSize) continue;
    batches.push({ records, tokens });
    open.delete(tokens);
  }
  const rest = [...open.keys()].sort((a, b) => a - b).flatMap((tokens) => open.get(tokens)!);
  for (let from = 0; from < rest.length; from += batchSize) {
    const records = rest.slice(from, from + batchSize);
    batches.push({ records, tokens: tokensOf(records.at(-1)!) });
  }
  return batches;
}
