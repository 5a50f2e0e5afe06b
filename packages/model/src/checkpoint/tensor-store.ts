import { ModelError } from '../errors.ts';
import type { ByteSource } from './byte-source.ts';
import { NUMBER_FORMATS } from './number-formats.ts';

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
  close(): Promise<void>;
}

/** Where a tensor lies in its file. */
export interface StoredRange extends TensorInfo {
  /** Of the file, in bytes. */
  from: number;
  to: number;
}

/** What is read at once of a tensor that has to be converted, in blocks; f32 is read straight to its place. */
const CHUNK_BYTES = 2 ** 21;

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
    read: async (name) => readRange(source, name, find(name)),
    close: () => source.close(),
  };
}

async function readRange(
  source: ByteSource,
  name: string,
  { dtype, from, to }: StoredRange,
): Promise<Float32Array<ArrayBuffer>> {
  const format = NUMBER_FORMATS.get(dtype);
  if (!format)
    throw new ModelError(`${source.name}: tensor ${name} holds ${dtype}, not numbers this model can use`);
  let values: Float32Array<ArrayBuffer>;
  try {
    values = new Float32Array(((to - from) / format.bytes) * format.values);
  } catch (cause) {
    throw new ModelError(`${source.name}: tensor ${name} is too large for memory (${to - from} bytes)`, {
      cause,
    });
  }
  if (dtype === 'F32') {
    await source.read(from, new Uint8Array(values.buffer));
    return values;
  }
  const blocks = Math.floor(CHUNK_BYTES / format.bytes);
  const chunk = new Uint8Array(Math.min(to - from, blocks * format.bytes));
  for (let at = from; at < to; at += chunk.length) {
    const part = chunk.subarray(0, Math.min(chunk.length, to - at));
    await source.read(at, part);
    format.decode(part, values, ((at - from) / format.bytes) * format.values);
  }
  return values;
}
