import { ModelError } from '../errors.ts';
import type { ByteSource } from './byte-source.ts';
import { NUMBER_FORMATS, type NumberFormat } from './number-formats.ts';

export interface TensorInfo {
  shape: readonly number[];
  /** As the file names it: F32, BF16, Q4_0, ... */
  dtype: string;
}

/**
 * The tensors of a checkpoint, whatever its format: one is read at a time, so that host memory holds one at a time.
 * Errors are ModelErrors that name file and tensor.
 */
export interface TensorStore {
  names(): Iterable<string>;
  has(name: string): boolean;
  /** @throws ModelError when there is no such tensor */
  info(name: string): TensorInfo;
  /** The file that holds it. @throws ModelError when there is no such tensor */
  fileOf(name: string): string;
  /** The values as f32, widened or dequantised. @throws ModelError when there are none, or not of numbers a model can use */
  read(name: string): Promise<Float32Array<ArrayBuffer>>;
  /**
   * The values as `read` gives them, in order and in pieces, where the store can do it. A store that changes what another one
   * reads changes this, too, or leaves it out.
   * @param take may use a piece until it returns; `at` is the number of its first value
   */
  stream?(name: string, take: TakePiece): Promise<void>;
  close(): Promise<void>;
}

export type TakePiece = (values: Float32Array<ArrayBuffer>, at: number) => void;

/** The values of a tensor in pieces, or as one where the store has no pieces. */
export async function streamTensor(store: TensorStore, name: string, take: TakePiece): Promise<void> {
  if (store.stream) return store.stream(name, take);
  take(await store.read(name), 0);
}

/** Where a tensor lies in its file. */
export interface StoredRange extends TensorInfo {
  /** Of the file, in bytes. */
  from: number;
  to: number;
}

/** What is read at once of a tensor: little enough that what is read next and what is used meanwhile stay in a cache. */
const CHUNK_BYTES = 2 ** 20;

/** A store over the ranges of one file. */
export function tensorStore(source: ByteSource, ranges: ReadonlyMap<string, StoredRange>): TensorStore {
  const find = (name: string): StoredRange => {
    const range = ranges.get(name);
    if (!range) throw new ModelError(`${source.name}: there is no tensor ${name}`);
    return range;
  };
  return {
    names: () => ranges.keys(),
    has: (name) => ranges.has(name),
    info(name) {
      const { shape, dtype } = find(name);
      return { shape, dtype };
    },
    fileOf(name) {
      find(name);
      return source.name;
    },
    async read(name) {
      const values = allocate(source, name, find(name));
      await streamRange(source, name, find(name), (piece, at) => values.set(piece, at));
      return values;
    },
    stream: async (name, take) => streamRange(source, name, find(name), take),
    close: () => source.close(),
  };
}

function formatOf(source: ByteSource, name: string, { dtype }: StoredRange): NumberFormat {
  const format = NUMBER_FORMATS.get(dtype);
  if (!format)
    throw new ModelError(`${source.name}: tensor ${name} holds ${dtype}, not numbers this model can use`);
  return format;
}

function allocate(source: ByteSource, name: string, range: StoredRange): Float32Array<ArrayBuffer> {
  const format = formatOf(source, name, range);
  const bytes = range.to - range.from;
  try {
    return new Float32Array((bytes / format.bytes) * format.values);
  } catch (cause) {
    throw new ModelError(`${source.name}: tensor ${name} is too large for memory (${bytes} bytes)`, {
      cause,
    });
  }
}

/** Reads a tensor in whole blocks, one piece ahead of what is used. */
async function streamRange(
  source: ByteSource,
  name: string,
  range: StoredRange,
  take: TakePiece,
): Promise<void> {
  const { from, to } = range;
  const format = formatOf(source, name, range);
  const size = Math.min(to - from, Math.floor(CHUNK_BYTES / format.bytes) * format.bytes);
  if (size === 0) return;
  // Two, so that one is read while the other is used.
  const chunks = [new Uint8Array(size), new Uint8Array(size)] as const;
  const values = format.decode === null ? null : new Float32Array((size / format.bytes) * format.values);
  const read = async (at: number, number: number) => {
    const part = chunks[number % 2]!.subarray(0, Math.min(size, to - at));
    await source.read(at, part);
    return part;
  };
  let next = read(from, 0);
  for (let at = from, number = 1; at < to; at += size, number++) {
    const part = await next;
    if (at + size < to) {
      next = read(at + size, number);
      // Awaited in the next turn; if this one fails, nobody else would.
      next.catch(() => {});
    }
    const count = (part.length / format.bytes) * format.values;
    if (values) format.decode!(part, values, 0);
    take(
      values ? values.subarray(0, count) : new Float32Array(part.buffer, part.byteOffset, count),
      ((at - from) / format.bytes) * format.values,
    );
  }
}
