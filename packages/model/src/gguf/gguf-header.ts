// The header of GGUF 2 and 3, by the format's specification (ggml, docs/gguf.md): magic, version, counts, metadata, tensors.
// Everything is little-endian; a string is a u64 length and UTF-8.

import { NUMBER_FORMATS } from '../checkpoint/number-formats.ts';
import { oneLine } from '../checkpoint/one-line.ts';
import type { StoredRange } from '../checkpoint/tensor-store.ts';
import { ModelError } from '../errors.ts';

export type GgufValue = number | bigint | boolean | string | GgufValue[];
export type GgufMetadata = ReadonlyMap<string, GgufValue>;

export interface GgufHeader {
  metadata: GgufMetadata;
  /** By the names in the file; shapes in the order of safetensors, slowest axis first. */
  tensors: Map<string, StoredRange>;
}

const MAGIC = 0x46554747;
/** More than any format of ggml has; a rank beyond it is a lie. */
const MOST_AXES = 4;
const DEEPEST_LIST = 4;
/** ggml's numbers of the tensor types: those read here, and names for the others, so that an error can say them. */
const TENSOR_TYPES: Record<number, string> = {
  0: 'F32',
  1: 'F16',
  2: 'Q4_0',
  3: 'Q4_1',
  6: 'Q5_0',
  7: 'Q5_1',
  8: 'Q8_0',
  9: 'Q8_1',
  10: 'Q2_K',
  11: 'Q3_K',
  12: 'Q4_K',
  13: 'Q5_K',
  14: 'Q6_K',
  15: 'Q8_K',
  30: 'BF16',
};

/** The bytes that were read so far end within the header: it has to be read again with more. */
export class HeaderGoesOn extends Error {}

/**
 * Reads a header from the first bytes of a file.
 * @param prefix the first bytes of the file, or all of them
 * @param size of the whole file
 * @throws HeaderGoesOn when the header is longer than `prefix`; ModelError, naming file and tensor or key, when it lies
 */
export function parseGgufHeader(prefix: Uint8Array<ArrayBuffer>, size: number, file: string): GgufHeader {
  const fail = (problem: string): never => {
    throw new ModelError(`${file}: ${oneLine(problem)}`);
  };
  const cursor = new Cursor(prefix, size, fail);
  if (size < 24) fail('is too short for a GGUF file');
  if (cursor.u32('magic') !== MAGIC) fail('is not a GGUF file');
  const version = cursor.u32('version');
  if (version !== 2 && version !== 3) fail(`is GGUF version ${version}; this reads 2 and 3`);
  // A tensor takes 24 bytes at least, a key 13.
  const tensorCount = cursor.count(24, 'the number of tensors');
  const keyCount = cursor.count(13, 'the number of metadata keys');
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < keyCount; i++) {
    const key = cursor.text(`metadata key ${i}`);
    if (metadata.has(key)) fail(`metadata key ${key} comes twice`);
    metadata.set(key, cursor.value(cursor.u32(key), `metadata ${key}`));
  }
  const alignment = metadata.get('general.alignment') ?? 32;
  if (typeof alignment !== 'number' || !Number.isInteger(alignment) || alignment < 8 || alignment % 8 !== 0)
    fail('metadata general.alignment must be a multiple of 8');
  const described = Array.from({ length: tensorCount }, (_, i) => describeTensor(cursor, i, fail));
  const start = Math.ceil(cursor.at / (alignment as number)) * (alignment as number);
  return { metadata, tensors: place(described, start, alignment as number, size, fail) };
}

interface Described {
  name: string;
  dtype: string;
  shape: number[];
  offset: number;
  bytes: number;
}

type Fail = (problem: string) => never;

function describeTensor(cursor: Cursor, index: number, fail: Fail): Described {
  const name = cursor.text(`the name of tensor ${index}`);
  const axes = cursor.u32(`tensor ${name}`);
  if (axes > MOST_AXES) fail(`tensor ${name} has ${axes} axes, at most ${MOST_AXES} are known`);
  const extents = Array.from({ length: axes }, () => cursor.safe(`an extent of tensor ${name}`));
  const type = cursor.u32(`tensor ${name}`);
  const dtype = TENSOR_TYPES[type] ?? `type ${type}`;
  const offset = cursor.safe(`the offset of tensor ${name}`);
  const format = NUMBER_FORMATS.get(dtype);
  if (!format) return fail(`tensor ${name} is ${dtype}; this reads ${[...NUMBER_FORMATS.keys()].join(', ')}`);
  const { values, bytes } = format;
  // Blocks lie along the first axis of ggml, the last of ours; a scalar has none.
  if ((extents[0] ?? 1) % values !== 0)
    fail(`tensor ${name} of ${dtype} has rows of ${extents[0]} values, not a multiple of ${values}`);
  const size = extents.reduce((product, extent) => product * extent, 1);
  return { name, dtype, shape: extents.reverse(), offset, bytes: (size / values) * bytes };
}

/** Checks where tensors lie: aligned, inside of the file, none on another. */
function place(
  described: Described[],
  start: number,
  alignment: number,
  size: number,
  fail: Fail,
): Map<string, StoredRange> {
  const tensors = new Map<string, StoredRange>();
  for (const { name, dtype, shape, offset, bytes } of described) {
    if (tensors.has(name)) fail(`tensor ${name} comes twice`);
    if (offset % alignment !== 0)
      fail(`tensor ${name} starts at byte ${offset} of the data, not a multiple of ${alignment}`);
    // Also refuses sizes beyond 2^53, which sums would round.
    if (!(bytes <= size && start + offset + bytes <= size))
      fail(
        `tensor ${name} of ${dtype} [${shape}] ends at byte ${offset + bytes} of the data, past the end of the file`,
      );
    tensors.set(name, { dtype, shape, from: start + offset, to: start + offset + bytes });
  }
  const ordered = [...tensors].sort(([, a], [, b]) => a.from - b.from || a.to - b.to);
  ordered.forEach(([name, { from }], i) => {
    const before = ordered[i - 1];
    if (before && from < before[1].to) fail(`tensor ${name} lies on tensor ${before[0]}`);
  });
  return tensors;
}

/** The bytes of each metadata type of fixed size, by its number. */
const VALUE_BYTES: Record<number, number> = {
  0: 1,
  1: 1,
  2: 2,
  3: 2,
  4: 4,
  5: 4,
  6: 4,
  7: 1,
  10: 8,
  11: 8,
  12: 8,
};
const [STRING, LIST] = [8, 9];

/** Reads one thing after another, and nothing that is longer than what is left. */
class Cursor {
  at = 0;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  readonly #size: number;
  readonly #fail: Fail;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

  constructor(bytes: Uint8Array<ArrayBuffer>, size: number, fail: Fail) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#size = size;
    this.#fail = fail;
  }

  #take(bytes: number, what: string): number {
    const { at } = this;
    if (bytes > this.#size - at) this.#fail(`${what} goes past the end of the file`);
    if (at + bytes > this.#bytes.length) throw new HeaderGoesOn();
    this.at += bytes;
    return at;
  }

  u32(what: string): number {
    return this.#view.getUint32(this.#take(4, what), true);
  }

  /** A u64 that must be a whole number of f64. */
  safe(what: string): number {
    const value = this.#view.getBigUint64(this.#take(8, what), true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) this.#fail(`${what} is ${value}`);
    return Number(value);
  }

  /** A u64 that counts things of so many bytes at least, for which there must be room. */
  count(bytes: number, what: string): number {
    const count = this.safe(what);
    if (count * bytes > this.#size - this.at)
      this.#fail(`${what} is ${count}, for which the file is too short`);
    return count;
  }

  text(what: string): string {
    const length = this.count(1, `the length of ${what}`);
    const from = this.#take(length, what);
    try {
      return this.#decoder.decode(this.#bytes.subarray(from, from + length));
    } catch {
      return this.#fail(`${what} is not UTF-8`);
    }
  }

  value(type: number, what: string, depth = 0): GgufValue {
    if (type === STRING) return this.text(what);
    if (type === LIST) {
      if (depth === DEEPEST_LIST) this.#fail(`${what} is a list nested more than ${DEEPEST_LIST} deep`);
      const inner = this.u32(what);
      const least = inner === STRING ? 8 : inner === LIST ? 12 : VALUE_BYTES[inner];
      if (least === undefined) return this.#fail(`${what} has the unknown type ${inner}`);
      const length = this.count(least, `the length of ${what}`);
      const list: GgufValue[] = [];
      for (let i = 0; i < length; i++) list.push(this.value(inner, what, depth + 1));
      return list;
    }
    const bytes = VALUE_BYTES[type];
    if (bytes === undefined) return this.#fail(`${what} has the unknown type ${type}`);
    return this.#number(type, this.#take(bytes, what));
  }

  #number(type: number, at: number): GgufValue {
    const view = this.#view;
    switch (type) {
      case 0:
        return view.getUint8(at);
      case 1:
        return view.getInt8(at);
      case 2:
        return view.getUint16(at, true);
      case 3:
        return view.getInt16(at, true);
      case 4:
        return view.getUint32(at, true);
      case 5:
        return view.getInt32(at, true);
      case 6:
        return view.getFloat32(at, true);
      case 7:
        return view.getUint8(at) !== 0;
      case 10:
        return plain(view.getBigUint64(at, true));
      case 11:
        return plain(view.getBigInt64(at, true));
      default:
        return view.getFloat64(at, true);
    }
  }
}

/** As a number where that loses nothing. */
function plain(value: bigint): number | bigint {
  return BigInt.asIntN(54, value) === value ? Number(value) : value;
}
