import { isPermutation } from './combinatorics.ts';
import { AlgorithmError, requireInteger } from './errors.ts';

/** A byte and a step each, at the beginning of every history. */
const MOST_STAGES = 2 ** 26;

/** A stage of every shard: a distinct prefix of the sequences. */
export interface TrieNode {
  /** Depth in the trie, from 0. */
  position: number;
  /** The slices it has learnt from, in order. */
  slices: readonly number[];
}

/** The distinct prefixes of the sequences, in the order of planStages: sequence by sequence, parents before children. */
export function trieOf(sequences: readonly (readonly number[])[]): TrieNode[] {
  const nodes = new Map<string, TrieNode>();
  for (const sequence of sequences) {
    let name = '';
    for (const [position, slice] of sequence.entries()) {
      name += `,${slice}`;
      if (!nodes.has(name)) nodes.set(name, { position, slices: sequence.slice(0, position + 1) });
    }
  }
  return [...nodes.values()];
}

/**
 * Which stages of which shard are active, through erasures and repairs, for simulations: what planStages, affectedBy and servedStacks say
 * of a run, without its records. It starts with all of them. Stages are numbered as in {@link trieOf}.
 */
export class ActiveStages {
  readonly nodes: readonly TrieNode[];
  readonly shards: number;
  /** L: the depth of a shard that nothing was erased from. */
  readonly slices: number;
  /** How many stages of all shards are not active. */
  missing = 0;
  /** Depths of all shards, summed. */
  totalDepth: number;
  /** How many shards serve nothing. */
  exhausted = 0;
  readonly #active: Uint8Array;
  /** [shard][depth]: how many of the stages that end at this depth (from 1) are active. */
  readonly #ending: Uint32Array;
  readonly #depths: Uint32Array;
  /** Where to look for the next missing stage: from here on. */
  #noneMissingBefore = 0;
  /** Of each slice, the stages that have learnt from it. */
  readonly #having: readonly (readonly number[])[];

  /** @throws AlgorithmError for shards below 1, more than 2^26 stages in all, no sequences, or one that is no permutation of 0 .. L-1. */
  constructor(shards: number, sequences: readonly (readonly number[])[]) {
    requireInteger('shards', shards, 1);
    const slices = sequences[0]?.length ?? 0;
    requireInteger('slices', slices, 1);
    for (const sequence of sequences) {
      if (!isPermutation(sequence, slices)) {
        throw new AlgorithmError(`a sequence is no permutation of 0 to ${slices - 1}: ${sequence}`);
      }
    }
    this.nodes = trieOf(sequences);
    requireInteger('the number of stages', shards * this.nodes.length, 1, MOST_STAGES);
    this.shards = shards;
    this.slices = slices;
    this.#having = Array.from({ length: slices }, (_, slice) =>
      this.nodes.flatMap((node, number) => (node.slices.includes(slice) ? [number] : [])),
    );
    this.#active = new Uint8Array(shards * this.nodes.length).fill(1);
    this.#ending = new Uint32Array(shards * (slices + 1));
    for (let shard = 0; shard < shards; shard++) {
      for (const { position } of this.nodes) this.#ending[shard * (slices + 1) + position + 1]!++;
    }
    this.#depths = new Uint32Array(shards).fill(slices);
    this.totalDepth = shards * slices;
  }

  /** How many stages the shard serves: its longest prefix that is active throughout. */
  depth(shard: number): number {
    return this.#depths[shard]!;
  }

  isActive(shard: number, node: number): boolean {
    return this.#active[shard * this.nodes.length + node] === 1;
  }

  /** A record of the slice is erased: every active stage that has learnt from it is deactivated. Returns how many. */
  erase(shard: number, slice: number): number {
    let deactivated = 0;
    for (const node of this.#having[slice]!) {
      if (!this.isActive(shard, node)) continue;
      this.#set(shard, node, 0);
      deactivated++;
    }
    this.missing += deactivated;
    let depth = this.#depths[shard]!;
    while (depth > 0 && this.#ending[shard * (this.slices + 1) + depth] === 0) depth--;
    this.#serve(shard, depth);
    return deactivated;
  }

  /** A stage that was missing is trained again, its parent being active. */
  train(shard: number, node: number): void {
    this.#set(shard, node, 1);
    this.missing--;
    this.#serve(shard, Math.max(this.#depths[shard]!, this.nodes[node]!.position + 1));
  }

  /** The missing stage that a run trains next, as `shard * nodes.length + node`; -1 when none is missing. */
  nextMissing(): number {
    if (this.missing === 0) return -1;
    this.#noneMissingBefore = this.#active.indexOf(0, this.#noneMissingBefore);
    return this.#noneMissingBefore;
  }

  #set(shard: number, node: number, active: 0 | 1): void {
    const number = shard * this.nodes.length + node;
    this.#active[number] = active;
    if (active === 0 && number < this.#noneMissingBefore) this.#noneMissingBefore = number;
    const ending = shard * (this.slices + 1) + this.nodes[node]!.position + 1;
    this.#ending[ending] = this.#ending[ending]! + (active === 1 ? 1 : -1);
  }

  #serve(shard: number, depth: number): void {
    const before = this.#depths[shard]!;
    this.#depths[shard] = depth;
    this.totalDepth += depth - before;
    this.exhausted += Number(depth === 0) - Number(before === 0);
  }
}
