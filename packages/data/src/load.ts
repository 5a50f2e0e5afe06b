import { extname, join, resolve } from 'node:path';
import { isCifarName, readCifarFolder } from './cifar.ts';
import { csvRows } from './csv.ts';
import { DataError } from './errors.ts';
import { kindOf, listFolder, readBytes } from './files.ts';
import { isIdxName, readIdxFolder } from './idx-folder.ts';
import { imageFolderRecords, isImage } from './image-folder.ts';
import { jsonlRows, jsonRows } from './jsonl.ts';
import { parquetFilesOf, parquetRows } from './parquet.ts';
import { recordsOfRasters } from './raster.ts';
import type { DataOptions, DataRecord, Split } from './record.ts';
import { type Row, recordsOfRows } from './rows.ts';

const tables: Record<string, (bytes: Uint8Array, file: string) => Row[] | Promise<Row[]>> = {
  '.jsonl': jsonlRows,
  '.ndjson': jsonlRows,
  '.json': jsonRows,
  '.parquet': parquetRows,
  '.csv': (bytes, file) => csvRows(bytes, file, ','),
  '.tsv': (bytes, file) => csvRows(bytes, file, '\t'),
};

const supported =
  'JSON Lines (.jsonl), .json, .csv, .tsv and .parquet files, and folders with parquet files, IDX files, CIFAR binaries or one sub-folder of images per label';

/**
 * Loads the records of a data set, in a fixed order: that of the file, or sorted by id for a folder of images.
 *
 * `source` is a `.jsonl`, `.ndjson`, `.json` (one array of objects), `.csv`, `.tsv` or `.parquet` file, or a folder: parquet files
 * (`train-*.parquet` for train; `validation-`, `valid-` or `test-*` for eval), IDX files (`train-*-idx*-ubyte[.gz]` for train, `t10k-*` for eval),
 * CIFAR-10 or CIFAR-100 binaries, or sub-folders of images that are named after the labels. Relative to `baseFolder`.
 *
 * Everything is checked here (fields, labels, ids, that image files exist) except what only decoding an image can tell. Ids given by row
 * number shift if rows are inserted or removed; give records that may be erased an id of their own.
 *
 * @throws DataError
 * @example
 * const records = await loadRecords('data/train.jsonl', 'train', { id: 'id', label: 'label', text: ['sentence'] }, configFolder);
 */
export async function loadRecords(
  source: string,
  split: Split,
  options: DataOptions,
  baseFolder: string,
): Promise<DataRecord[]> {
  const path = resolve(baseFolder, source);
  if ((await kindOf(path)) === 'folder') {
    for (const [field, asked] of [
      ['data.subject', options.subject],
      ['partition.by', options.risk],
    ])
      if (asked !== undefined) {
        const problem = `${field} names a field, which a folder does not have; use a table that lists the records`;
        throw new DataError(problem, { file: path });
      }
    return loadFolder(path, split, options);
  }
  return recordsOfRows(await readRows(path), path, split, options);
}

/** The rows of a table file, by its extension, as they are. @throws DataError */
export async function readRows(path: string): Promise<Row[]> {
  const extension = extname(path).toLowerCase();
  const parse = tables[extension];
  if (parse === undefined) {
    const kind = extension === '' ? 'a file without extension' : extension;
    throw new DataError(`${kind} is not supported; supported are ${supported}`, { file: path });
  }
  const bytes = await readBytes(path);
  if (bytes.length === 0) throw new DataError('is empty', { file: path });
  return parse(bytes, path);
}

async function loadFolder(folder: string, split: Split, options: DataOptions): Promise<DataRecord[]> {
  const { files, folders } = await listFolder(folder);
  const idx = files.some(isIdxName);
  const cifar = files.some(isCifarName);
  if (idx && cifar)
    throw new DataError('holds both IDX and CIFAR files; give each its folder', { file: folder });
  const parquet = parquetFilesOf(files, split);
  if (parquet.length > 0) {
    const rows: Row[] = [];
    for (const name of parquet) {
      const file = join(folder, name);
      // One by one: a call takes no hundred thousand arguments.
      for (const [row, { get }] of (await readRows(file)).entries()) rows.push({ get, part: { file, row } });
    }
    return recordsOfRows(rows, folder, split, options);
  }
  if (idx) return recordsOfRasters([await readIdxFolder(folder, files, split)], split, options);
  if (cifar) return recordsOfRasters(await readCifarFolder(folder, files, split), split, options);
  const stray = files.find(isImage);
  if (stray !== undefined) {
    throw new DataError('an image outside the label folders', { file: join(folder, stray) });
  }
  if (folders.length > 0) return imageFolderRecords(folder, folders, options);
  throw new DataError(`holds no data; supported are ${supported}`, { file: folder });
}
