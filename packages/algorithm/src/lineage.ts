import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex } from '@noble/hashes/utils.js';
import { bytesOf, type CanonicalValue, digestOf } from './canonical.ts';
import { isPermutation } from './combinatorics.ts';
import { AlgorithmError } from './errors.ts';

/** Characters hashed at once: one call per record costs more than its hash. */
const CHUNK = 2 ** 16;

/**
 * The digest of a slice: SHA-256 of the line `s3t-slice-1`, then one line `["key","digest"]` per record, sorted by key (UTF-16 code
 * units), each ended by a line feed, in UTF-8. The order of `records` does not matter. A slice without records has a digest too.
 *
 * @throws AlgorithmError if a key occurs twice.
 */
export function sliceDigest(records: Iterable<{ key: string; digest: string }>): string {
  const sorted = [...records].sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  const hash = new SliceHash();
  for (const record of sorted) hash.add(record);
  return hash.digest();
}

/** {@link sliceDigest} of records that come one after the other, in order of key: none of them is kept. */
export class SliceHash {
  readonly #hash = sha256.create();
  #lines = 's3t-slice-1\n';
  #previous: string | undefined;
  #records = 0;

  /** How many were added. */
  get records(): number {
    return this.#records;
  }

  /** @throws AlgorithmError where a key does not come after the one before it */
  add({ key, digest }: { key: string; digest: string }): void {
    if (key === this.#previous) throw new AlgorithmError(`a slice holds the record ${key} twice`);
    if (this.#previous !== undefined && key < this.#previous)
      throw new AlgorithmError(`the record ${key} comes before ${this.#previous} in order of key`);
    this.#previous = key;
    this.#records++;
    // JSON escapes quotes and line feeds: no two lists of records have the same bytes.
    this.#lines += `${JSON.stringify([key, digest])}\n`;
    if (this.#lines.length <= CHUNK) return;
    this.#hash.update(bytesOf(this.#lines));
    this.#lines = '';
  }

  /** Of what was added. Nothing can be added afterwards. */
  digest(): string {
    this.#hash.update(bytesOf(this.#lines));
    return bytesToHex(this.#hash.digest());
  }
}

/** Everything but the lineage that a stage's bytes depend on: base digest, adapter and training configuration, seed, kernel digest. */
export interface StageSetting {
  readonly [key: string]: CanonicalValue;
}

/**
 * The id of a stage: {@link digestOf} `{format: "s3t-stage-1", lineage, setting}`, with the slice digests of its lineage in training
 * order. No shard, slice or sequence number goes in, so stages of equal content have equal ids, and different content never has.
 *
 * @throws AlgorithmError for an empty lineage, or a setting without canonical form.
 */
export function stageId(setting: StageSetting, lineage: readonly string[]): string {
  if (lineage.length === 0) throw new AlgorithmError('a stage needs a lineage of at least one slice');
  return digestOf({ format: 's3t-stage-1', setting, lineage });
}

/** A stage that a run wants: a node in the trie of its shard's sequences. */
export interface StagePlan {
  /** {@link stageId} of its lineage. Unique within its shard; shards whose slices are all empty share ids. */
  id: string;
  /** The stage it is trained on top of; null at position 0. */
  parent: string | null;
  shard: number;
  /** Depth in the trie, from 0: which adapter group it trains. */
  position: number;
  /** The slices it has learnt from, in order: `position + 1` of them, the last one its own. */
  slices: readonly number[];
  /** The digests of `slices`. */
  lineage: readonly string[];
  /** Numbers of the sequences that pass through it, ascending. */
  sequences: readonly number[];
}

/**
 * Every stage of every shard, each distinct lineage once. The order is deterministic and puts parents before children: shard by shard, and
 * within a shard sequence by sequence, from the first position down, leaving out what an earlier sequence already has.
 *
 * Slices without records have equal digests, so prefixes that differ only in which empty slice they name are one stage; `slices` then
 * spells it as the lowest of its sequences does. Nobody can erase from an empty slice, so {@link affectedBy} stays right. To
 * find the stage of a sequence at a position, go by `sequences` and `position`, not by `slices`.
 *
 * @param o.sequences permutations of 0 .. L-1, the same for every shard
 * @param o.sliceDigests `[shard][slice]`, L per shard
 * @throws AlgorithmError if there are no sequences, one is no permutation, or a shard does not have L digests.
 */
export function planStages(o: {
  setting: StageSetting;
  sequences: readonly (readonly number[])[];
  sliceDigests: readonly (readonly string[])[];
}): StagePlan[] {
  const slices = o.sequences[0]?.length ?? 0;
  if (slices === 0) throw new AlgorithmError('a plan needs at least one sequence of at least one slice');
  for (const [number, sequence] of o.sequences.entries()) {
    if (!isPermutation(sequence, slices)) {
      throw new AlgorithmError(`sequence ${number} is no permutation of 0 to ${slices - 1}: ${sequence}`);
    }
  }
  return o.sliceDigests.flatMap((digests, shard) => {
    if (digests.length !== slices) {
      throw new AlgorithmError(`shard ${shard} has ${digests.length} slice digests, not ${slices}`);
    }
    return planShard(o.setting, o.sequences, digests, shard);
  });
}

function planShard(
  setting: StageSetting,
  sequences: readonly (readonly number[])[],
  digests: readonly string[],
  shard: number,
): StagePlan[] {
  const stages: (StagePlan & { sequences: number[] })[] = [];
  // A stage's children by the digest of the slice they add; the root is position -1.
  type Node = { index: number; children: Map<string, Node> };
  const root: Node = { index: -1, children: new Map() };
  for (const [number, sequence] of sequences.entries()) {
    let node = root;
    for (const [position, slice] of sequence.entries()) {
      const digest = digests[slice]!;
      let child = node.children.get(digest);
      if (child === undefined) {
        const lineage = [...(stages[node.index]?.lineage ?? []), digest];
        const parent = stages[node.index]?.id ?? null;
        child = { index: stages.length, children: new Map() };
        node.children.set(digest, child);
        stages.push({
          id: stageId(setting, lineage),
          parent,
          shard,
          position,
          slices: sequence.slice(0, position + 1),
          lineage,
          sequences: [],
        });
      }
      stages[child.index]!.sequences.push(number);
      node = child;
    }
  }
  return stages;
}

/** How many stages a shard trains for these sequences: their distinct prefixes, from length 1 on. */
export function countStages(sequences: readonly (readonly number[])[]): number {
  const prefixes = new Set<string>();
  for (const sequence of sequences) {
    for (let length = 1; length <= sequence.length; length++)
      prefixes.add(sequence.slice(0, length).join(','));
  }
  return prefixes.size;
}
