import { readFileSync } from 'node:fs';
import { dirname, extname, resolve } from 'node:path';
import { loadRecords } from '@s3t/data';
import type { Input } from '@s3t/unlearner';
import { CommandError, UsageError } from '../errors.ts';
import { decodeImages } from './images.ts';
import { inputsOfLines, inputsOfRows } from './rows.ts';

/** Something to predict, and what to call it in the answer. */
export interface NamedInput {
  id: string;
  input: Input;
}

/** Where tables name image files, unless told otherwise. */
const PATH_FIELDS = ['image', 'path'];

const IMAGES = ['.png', '.jpg', '.jpeg', '.webp', '.gif'];
const JSON_LINES = ['.jsonl', '.ndjson'];
const PLAIN = '.txt';
const DELIMITERS: Record<string, string> = { '.csv': ',', '.tsv': '\t' };

/**
 * The inputs in files of any kind: images, JSON Lines, CSV, TSV, plain text, one a line, or `-` for stdin: JSON Lines where it begins
 * with a brace, else plain text.
 *
 * @param imageField the field of a table that names an image file
 */
export async function readInputs(sources: readonly string[], imageField?: string): Promise<NamedInput[]> {
  const inputs: NamedInput[] = [];
  for (const source of sources) inputs.push(...(await readSource(source, imageField)));
  return inputs;
}

async function readSource(source: string, imageField: string | undefined): Promise<NamedInput[]> {
  const fields = imageField === undefined ? PATH_FIELDS : [imageField];
  if (source === '-') {
    const stdin = read(0, 'stdin');
    return /^\s*\{/.test(stdin)
      ? inputsOfRows(stdin, { name: 'stdin', folder: '.', fields })
      : inputsOfLines(stdin, { name: 'stdin' });
  }
  const extension = extname(source).toLowerCase();
  if (IMAGES.includes(extension)) return decodeImages([{ id: source, path: resolve(source), place: source }]);
  if (JSON_LINES.includes(extension)) {
    return inputsOfRows(read(source, source), { name: source, folder: dirname(source), fields });
  }
  if (extension === PLAIN) return inputsOfLines(read(source, source), { name: source });
  const delimiter = DELIMITERS[extension];
  if (delimiter !== undefined) return tableInputs(source, delimiter, fields);
  const known = [...IMAGES, ...JSON_LINES, ...Object.keys(DELIMITERS), PLAIN].join(' ');
  throw new UsageError(`predict: ${source}: no kind of file it takes (${known}, or - for stdin)`);
}

async function tableInputs(
  source: string,
  delimiter: string,
  fields: readonly string[],
): Promise<NamedInput[]> {
  const [firstLine = ''] = read(source, source).split(/\r?\n/, 1);
  const columns = firstLine
    .replace(/^\ufeff/, '')
    .split(delimiter)
    .map((name) => name.replace(/^"(.*)"$/, '$1'));
  const image = fields.find((field) => columns.includes(field));
  const id = columns.includes('id') ? 'id' : undefined;
  // Where no column names images, all are texts: which of them it reads, the run knows.
  const text = image === undefined ? columns.filter((column) => column !== id) : undefined;
  const records = await loadRecords(source, 'eval', { image, id, text }, '.');
  const inputs: NamedInput[] = [];
  for (const record of records)
    inputs.push({
      id: record.id,
      input: image === undefined ? { text: record.text! } : { image: await record.image!() },
    });
  return inputs;
}

function read(file: string | 0, name: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new CommandError(
      `${name}: ${code === 'ENOENT' ? 'there is no such file' : `cannot be read (${code})`}`,
    );
  }
}
