import { promisify } from 'node:util';
import { constants, gunzip } from 'node:zlib';
import { DataError } from './errors.ts';
import { readBytes } from './files.ts';

// https://yann.lecun.com/exdb/mnist: two zero bytes, the type (8 = unsigned byte), the number of dimensions, then the dimensions as
// big-endian 32-bit numbers, then the data, last dimension fastest.
const unsignedByte = 8;

/** The contents of an IDX file of unsigned bytes. */
export interface Idx {
  /** For example [60000, 28, 28]. */
  dimensions: number[];
  /** A view of the file's bytes: as many as the product of the dimensions. */
  data: Uint8Array;
}

/** Reads an IDX file, compressed if its name ends in `.gz`. `rank`: how many dimensions it must have. @throws DataError */
export async function readIdx(file: string, rank: number): Promise<Idx> {
  const bytes = await readBytes(file);
  return parseIdx(file.endsWith('.gz') ? await inflate(bytes, file, rank) : bytes, file, rank);
}

/** Parses IDX bytes; copies and allocates nothing. @throws DataError on a wrong magic number, and if there are fewer or more bytes than the header promises */
export function parseIdx(bytes: Uint8Array, file: string, rank: number): Idx {
  const { dimensions, start, end } = parseHeader(bytes, file, rank);
  if (bytes.length < end) throw new DataError(truncated(bytes.length, end), { file });
  if (bytes.length > end) {
    throw new DataError(`is ${bytes.length} bytes long, its header says ${end}`, { file });
  }
  return { dimensions, data: new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start) };
}

function parseHeader(
  bytes: Uint8Array,
  file: string,
  rank: number,
): { dimensions: number[]; start: number; end: number } {
  const start = 4 + 4 * rank;
  if (bytes.length === 0) throw new DataError('is empty', { file });
  if (bytes.length < start) throw new DataError(truncated(bytes.length, start), { file });
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = view.getUint32(0);
  const expected = unsignedByte * 256 + rank;
  if (magic !== expected) {
    const hex = (value: number): string => `0x${value.toString(16).padStart(8, '0')}`;
    throw new DataError(
      `is not an IDX file of ${rank}-dimensional bytes: it begins ${hex(magic)}, not ${hex(expected)}`,
      {
        file,
      },
    );
  }
  const dimensions = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i));
  if (dimensions.includes(0))
    throw new DataError(`holds nothing: its size is ${dimensions.join(' x ')}`, { file });
  // Beyond 2^53 the product is rounded, which changes nothing: no file is that long.
  return { dimensions, start, end: start + dimensions.reduce((product, size) => product * size, 1) };
}

function truncated(found: number, expected: number): string {
  return `is truncated: ${found} bytes, its header needs ${expected}`;
}

const gunzipAsync = promisify(gunzip);

/** Decompresses what the header promises and not a byte more, after checking that the compressed bytes could hold it at all. */
async function inflate(bytes: Uint8Array, file: string, rank: number): Promise<Uint8Array> {
  const corrupt = (): never => {
    throw new DataError('is not a complete gzip file', { file });
  };
  // 4 KiB cannot become more than 4 MiB, and begin with the header. Z_SYNC_FLUSH: do not mind that the stream is cut off.
  const head = await gunzipAsync(bytes.subarray(0, 4096), { finishFlush: constants.Z_SYNC_FLUSH }).catch(
    corrupt,
  );
  const { end } = parseHeader(head, file, rank);
  // Deflate expands at most 1032-fold.
  const most = bytes.length * 1032;
  if (end > most)
    throw new DataError(truncated(bytes.length, end).replace('bytes', 'compressed bytes'), { file });
  return gunzipAsync(bytes, { maxOutputLength: end, chunkSize: 1 << 20 }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ERR_BUFFER_TOO_LARGE') return corrupt();
      throw new DataError(`holds more than the ${end} bytes its header says`, { file });
    },
  );
}
