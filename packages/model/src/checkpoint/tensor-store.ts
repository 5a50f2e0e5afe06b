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
const CHUNKS = 3;

/** A store over the ranges of one file. */
export function tensorStore(source: ByteSource, ranges: ReadonlyMap<string, StoredRange>): TensorStore {
  const find = (name: string): StoredRange => {
    const range = ranges.get(name);
    if (!range) throw new ModelError(`${source.name}: there is no tensor ${name}`);
    return range;
  };
  const workplace = new Workplace();
  const stream = (name: string, take: TakePiece): Promise<void> =>
    workplace.use((memory) => streamRange(source, name, { range: find(name), memory }, take));
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
      await stream(name, (piece, at) => values.set(piece, at));
      return values;
    },
    stream,
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

/** Where pieces are read to and widened in. */
interface Memory {
  /** Several, so that some are read while one is used: a disk is slower when it is asked for one piece at a time. */
  chunks: readonly Uint8Array<ArrayBuffer>[];
  /** Of at least so many values. */
  values(count: number): Float32Array<ArrayBuffer>;
}

/** Keeps the memory of one tensor for the next: the system takes longer to give fresh memory than to read a file into it. */
class Workplace {
  #spare: Memory | null = null;

  async use(work: (memory: Memory) => Promise<void>): Promise<void> {
    const memory = this.#spare ?? newMemory();
    this.#spare = null;
    await work(memory);
    // Only now: after a failure something may still be read into it.
    this.#spare = memory;
  }
}

function newMemory(): Memory {
  let values = new Float32Array();
  return {
    chunks: Array.from({ length: CHUNKS }, () => new Uint8Array(CHUNK_BYTES)),
    values(count) {
      if (values.length < count) values = new Float32Array(count);
      return values;
    },
  };
}

/** Reads a tensor in whole blocks, one piece ahead of what is used. */
async function streamRange(
  source: ByteSource,
  name: string,
  { range, memory }: { range: StoredRange; memory: Memory },
  take: TakePiece,
): Promise<void> {
  const { from, to } = range;
  const format = formatOf(source, name, range);
  const size = Math.min(to - from, Math.floor(CHUNK_BYTES / format.bytes) * format.bytes);
  if (size === 0) return;
  const { chunks } = memory;
  const values = format.decode === null ? null : memory.values((size / format.bytes) * format.values);
  const pieces = Math.ceil((to - from) / size);
  const reading: Promise<Uint8Array<ArrayBuffer>>[] = [];
  const read = async (number: number) => {
    const at = from + number * size;
    const part = chunks[number % CHUNKS]!.subarray(0, Math.min(size, to - at));
    await source.read(at, part);
    return part;
  };
  for (let number = 0, asked = 0; number < pieces; number++) {
    for (; asked < Math.min(pieces, number + CHUNKS); asked++) {
      const next = read(asked);
      // Awaited in its turn; if one before it fails, nobody else would.
      next.catch(() => {});
      reading.push(next);
    }
    const part = (await reading.shift())!;
    const count = (part.length / format.bytes) * format.values;
    if (values) format.decode!(part, values, 0);
    take(
      values ? values.subarray(0, count) : new Float32Array(part.buffer, part.byteOffset, count),
      number * (size / format.bytes) * format.values,
    );
  }
}
