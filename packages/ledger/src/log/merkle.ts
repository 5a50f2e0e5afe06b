// The Merkle tree of RFC 9162, section 2 (as in RFC 6962): what certificate transparency logs are made of. Leaves and nodes are hashed
// with different prefixes, so no node can be passed off as a leaf. Hashes are lower-case hex SHA-256; leaves count from 0.
import { sha256Hex } from '@s3t/algorithm';
import { fromHex, toHex } from './bytes.ts';

const HASH = 32;

/** The root of a tree without leaves. */
export const EMPTY_ROOT: string = sha256Hex('');

/** MTH({d}) = SHA-256(0x00 || d). */
export function leafHash(data: Uint8Array): string {
  const bytes = new Uint8Array(1 + data.length);
  bytes.set(data, 1);
  return sha256Hex(bytes);
}

/** SHA-256(0x01 || left || right). */
export function nodeHash(left: string, right: string): string {
  const bytes = new Uint8Array(1 + 2 * HASH);
  bytes[0] = 1;
  bytes.set(fromHex(left, HASH), 1);
  bytes.set(fromHex(right, HASH), 1 + HASH);
  return sha256Hex(bytes);
}

/**
 * A tree that grows. It keeps the hash of every complete subtree, 64 bytes a leaf: appending hashes one node on average, and
 * roots and proofs, of the tree as it is or as it was at any smaller size, hash O(log n) nodes and read nothing else.
 */
export class MerkleTree {
  /** `#levels[k]` holds the hashes of the complete subtrees of 2^k leaves, in order. */
  readonly #levels: Hashes[] = [];

  /** How many leaves there are. */
  get size(): number {
    return this.#levels[0]?.count ?? 0;
  }

  /** Adds a leaf by its `leafHash`. */
  append(leaf: string): void {
    let hash = leaf;
    for (let level = 0; ; level++) {
      const row = this.#levels[level] ?? new Hashes();
      this.#levels[level] = row;
      row.push(hash);
      if (row.count % 2 === 1) return;
      hash = nodeHash(row.at(row.count - 2), row.at(row.count - 1));
    }
  }

  leaf(index: number): string {
    this.#assertSize(index + 1);
    return this.#hash(index, index + 1);
  }

  /** The root of the first `size` leaves. @throws RangeError when there are not so many */
  root(size: number = this.size): string {
    if (size === 0) return EMPTY_ROOT;
    this.#assertSize(size);
    return this.#hash(0, size);
  }

  /** PATH(index, D[size]): the audit path that leads from a leaf to the root of the first `size` leaves, from the bottom. */
  inclusion(index: number, size: number = this.size): string[] {
    this.#assertSize(size);
    if (!(Number.isSafeInteger(index) && index >= 0 && index < size))
      throw new RangeError(`a tree of ${size} leaves has no leaf ${index}`);
    const path: string[] = [];
    let [start, end] = [0, size];
    while (end - start > 1) {
      const middle = start + split(end - start);
      path.push(index < middle ? this.#hash(middle, end) : this.#hash(start, middle));
      if (index < middle) end = middle;
      else start = middle;
    }
    return path.reverse();
  }

  /** PROOF(from, D[to]): what shows that the first `from` of `to` leaves are the tree that once had `from`; empty when equal. */
  consistency(from: number, to: number = this.size): string[] {
    this.#assertSize(to);
    if (!(Number.isSafeInteger(from) && from >= 1 && from <= to))
      throw new RangeError(`a tree of ${to} leaves grew from 1 to ${to} leaves, not from ${from}`);
    const path: string[] = [];
    let [start, end] = [0, to];
    while (end !== from) {
      const middle = start + split(end - start);
      path.push(from <= middle ? this.#hash(middle, end) : this.#hash(start, middle));
      if (from <= middle) end = middle;
      else start = middle;
    }
    // The old tree's own root is known to whoever asks; a subtree of it has to be told.
    if (start > 0) path.push(this.#hash(start, end));
    return path.reverse();
  }

  /** MTH(D[start:end]). Ranges come from splitting, so one of a power of two is a subtree we keep. */
  #hash(start: number, end: number): string {
    const length = end - start;
    const level = Math.log2(length);
    if (Number.isInteger(level)) return this.#levels[level]!.at(start / length);
    const middle = start + split(length);
    return nodeHash(this.#hash(start, middle), this.#hash(middle, end));
  }

  #assertSize(size: number): void {
    if (!(Number.isSafeInteger(size) && size >= 1 && size <= this.size))
      throw new RangeError(`the tree has ${this.size} leaves, not ${size}`);
  }
}

/** Hashes back to back in one array that doubles when it is full. */
class Hashes {
  count = 0;
  #bytes = new Uint8Array(HASH);

  push(hash: string): void {
    if (this.count * HASH === this.#bytes.length) {
      const larger = new Uint8Array(2 * this.#bytes.length);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes.set(fromHex(hash, HASH), HASH * this.count++);
  }

  at(index: number): string {
    return toHex(this.#bytes.subarray(HASH * index, HASH * (index + 1)));
  }
}

/** The largest power of two below `n`, for n >= 2. */
function split(n: number): number {
  let power = 1;
  while (2 * power < n) power *= 2;
  return power;
}

/** Whether `path` leads from leaf `index` to the root of a tree of `size` leaves (RFC 9162, 2.1.3.2). */
export function verifyInclusion(
  claim: { leaf: string; index: number; size: number; root: string },
  path: readonly string[],
): boolean {
  const { leaf, index, size, root } = claim;
  if (!(Number.isSafeInteger(size) && Number.isSafeInteger(index) && index >= 0 && index < size))
    return false;
  if (![leaf, root, ...path].every(isHash)) return false;
  let [fn, sn] = [index, size - 1];
  let hash = leaf;
  for (const sibling of path) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      hash = nodeHash(sibling, hash);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      hash = nodeHash(hash, sibling);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && hash === root;
}

/** Whether `path` shows that a tree of `from` leaves with `oldRoot` grew into one of `to` leaves with `newRoot` (RFC 9162, 2.1.4.2). */
export function verifyConsistency(
  claim: { from: number; oldRoot: string; to: number; newRoot: string },
  path: readonly string[],
): boolean {
  const { from, oldRoot, to, newRoot } = claim;
  if (!(Number.isSafeInteger(from) && Number.isSafeInteger(to) && from >= 1 && from <= to)) return false;
  if (![oldRoot, newRoot, ...path].every(isHash)) return false;
  if (from === to) return path.length === 0 && oldRoot === newRoot;
  // A complete old tree is a subtree of the new one, and its root is not told again.
  const [first, ...rest] = Number.isInteger(Math.log2(from)) ? [oldRoot, ...path] : path;
  if (first === undefined) return false;
  let [fn, sn] = [from - 1, to - 1];
  while (fn % 2 === 1) [fn, sn] = [half(fn), half(sn)];
  let [before, after] = [first, first];
  for (const sibling of rest) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      before = nodeHash(sibling, before);
      after = nodeHash(sibling, after);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      after = nodeHash(after, sibling);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && before === oldRoot && after === newRoot;
}

function half(n: number): number {
  return Math.floor(n / 2);
}

function isHash(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}
