import * as zlib from 'node:zlib';
import { DataError } from './errors.ts';
import type { Split } from './record.ts';
import type { Row } from './rows.ts';

/** The files of a split, as hubs name them. */
const names: Record<Split, RegExp> = {
  train: /^train-.*\.parquet$/,
  eval: /^(validation(_matched)?|valid|test)-.*\.parquet$/,
};

/** The parquet files of a split in a folder of them, in order: what there is of `validation`, else `valid`, else `test`. */
export function parquetFilesOf(files: readonly string[], split: Split): string[] {
  const own = files.filter((name) => names[split].test(name)).sort();
  const kind = (name: string): string => name.slice(0, name.indexOf('-'));
  const wanted = ['train', 'validation', 'validation_matched', 'valid', 'test'].find((one) =>
    own.some((name) => kind(name) === one),
  );
  return own.filter((name) => kind(name) === wanted);
}

/** Rows of a parquet file. Whole numbers of 64 bits become numbers where that is exact. @throws DataError */
export async function parquetRows(bytes: Uint8Array, file: string): Promise<Row[]> {
  // Only here: other formats need no parser.
  const { parquetMetadata, parquetReadObjects, parquetSchema } = await import('hyparquet');
  const buffer = bytes.slice().buffer;
  let hasFailed = false;
  // Where a column is found broken when others have begun, hyparquet forgets these: if they fail, too, nobody handles it, and the process ends.
  // So nothing is read before all have begun, nor once one has failed.
  const content = {
    byteLength: buffer.byteLength,
    slice: async (start: number, end?: number): Promise<ArrayBuffer> => {
      await new Promise((resolve) => setTimeout(resolve));
      return hasFailed ? new Promise(() => {}) : buffer.slice(start, end);
    },
  };
  let rows: Record<string, unknown>[];
  let columns: string[];
  try {
    const metadata = parquetMetadata(buffer);
    columns = parquetSchema(metadata).children.map(({ element }) => element.name);
    rows = await parquetReadObjects({
      metadata,
      file: content,
      utf8: false,
      compressors,
      parsers: { stringFromBytes: textOrBytes },
    });
  } catch (error) {
    hasFailed = true;
    const why = error instanceof Error ? error.message.replace(/\s+/g, ' ').trim() : 'unknown error';
    throw new DataError(`is not a parquet file that can be read (${why})`, { file });
  }
  const doubled = new Set(columns.filter((name, at) => columns.indexOf(name) < at));
  const read = (row: Record<string, unknown>, field: string): unknown => {
    if (doubled.has(field)) throw new DataError('two columns have this name', { file, field });
    return Object.hasOwn(row, field) ? plain(row[field]) : undefined;
  };
  return rows.map((row) => ({ get: (field) => read(row, field) }));
}

/** A page's bytes, which are to be so many: whatever the page holds, no more are made of it. */
type Decompress = (page: Uint8Array, length: number) => Uint8Array;

const within =
  (decompress: (page: Uint8Array, limits: { maxOutputLength: number }) => Uint8Array): Decompress =>
  (page, length) =>
    decompress(page, { maxOutputLength: Math.max(1, length) });

// What the parser lacks of what hubs and pandas write. Not every runtime has Zstandard: there a file that is written so is refused by name.
const compressors: Record<string, Decompress> = {
  GZIP: within(zlib.gunzipSync),
  BROTLI: within(zlib.brotliDecompressSync),
  ...(zlib.zstdDecompressSync && { ZSTD: within(zlib.zstdDecompressSync) }),
};

// Fatal, as of other tables. A byte order mark at the beginning of a value is dropped.
const utf8 = new TextDecoder('utf-8', { fatal: true });

/** What is declared as text and is none stays bytes: where a field is read that must be text, the error can name its row. */
function textOrBytes(bytes: Uint8Array | undefined): unknown {
  try {
    return bytes && utf8.decode(bytes);
  } catch {
    return bytes;
  }
}

function plain(value: unknown): unknown {
  return typeof value === 'bigint' ? Number(value) : value;
}
