import { existsSync, readFileSync } from 'node:fs';
import { dirname, extname, resolve } from 'node:path';
import { decodeImage, loadRecords } from '@s3t/data';
import type { Input } from '@s3t/unlearner';
import { UsageError } from '../errors.ts';
import { decodeImages } from './images.ts';
import { inputsOfLines, inputsOfRows } from './rows.ts';
import { imageFields, refuseUnless, type Wanted } from './wanted.ts';

/** Something to predict, and what to call it in the answer. */
export interface NamedInput {
  id: string;
  input: Input;
}

const IMAGES = ['.png', '.jpg', '.jpeg', '.webp', '.gif'];
const JSON_LINES = ['.jsonl', '.ndjson'];
const PLAIN = '.txt';
const DELIMITERS: Record<string, string> = { '.csv': ',', '.tsv': '\t' };

/** The files are there, and of kinds that can be read. @throws UsageError naming the first that is not */
export function checkSources(sources: readonly string[]): void {
  for (const source of sources) {
    if (source === '-') continue;
    const extension = extname(source).toLowerCase();
    const known = [...IMAGES, ...JSON_LINES, ...Object.keys(DELIMITERS), PLAIN];
    if (!known.includes(extension))
      throw new UsageError(
        `predict: ${source}: no kind of file it takes (${known.join(' ')}, or - for stdin)`,
      );
    if (!existsSync(source)) throw new UsageError(`${source}: there is no such file`);
  }
}

/**
 * The inputs in files of any kind: images, JSON Lines, CSV, TSV, plain text, one a line, or `-` for stdin: an image file, JSON Lines where
 * it begins with a brace, else plain text.
 * @throws UsageError naming file, line and field where it is not what the run takes
 */
export async function readInputs(sources: readonly string[], wanted: Wanted): Promise<NamedInput[]> {
  const inputs: NamedInput[] = [];
  for (const source of sources) inputs.push(...(await readSource(source, wanted)));
  return inputs;
}

async function readSource(source: string, wanted: Wanted): Promise<NamedInput[]> {
  if (source === '-') {
    const bytes = read(0, 'stdin');
    if (isImageFile(bytes)) {
      refuseUnless('image', wanted, 'stdin');
      return [{ id: 'stdin', input: { image: await decodeImage(bytes, { file: 'stdin' }) } }];
    }
    const stdin = bytes.toString('utf8');
    return /^\s*\{/.test(stdin)
      ? inputsOfRows(stdin, { name: 'stdin', folder: '.', wanted })
      : textLines(stdin, 'stdin', wanted);
  }
  const extension = extname(source).toLowerCase();
  if (IMAGES.includes(extension)) {
    refuseUnless('image', wanted, source);
    return decodeImages([{ id: source, path: resolve(source), place: source }]);
  }
  const delimiter = DELIMITERS[extension];
  if (delimiter !== undefined) return tableInputs(source, delimiter, wanted);
  const text = read(source, source).toString('utf8');
  if (extension === PLAIN) return textLines(text, source, wanted);
  return inputsOfRows(text, { name: source, folder: dirname(source), wanted });
}

function textLines(text: string, name: string, wanted: Wanted): NamedInput[] {
  refuseUnless('text', wanted, name);
  return inputsOfLines(text, { name });
}

/** By how PNG, JPEG, GIF and WebP files begin. */
function isImageFile(bytes: Buffer): boolean {
  return /^(\x89PNG\r\n|\xff\xd8\xff|GIF8|RIFF.{4}WEBP)/s.test(bytes.toString('latin1', 0, 12));
}

async function tableInputs(source: string, delimiter: string, wanted: Wanted): Promise<NamedInput[]> {
  const [firstLine = ''] = read(source, source).toString('utf8').split(/\r?\n/, 1);
  const columns = firstLine
    .replace(/^\ufeff/, '')
    .split(delimiter)
    .map((name) => name.replace(/^"(.*)"$/, '$1'));
  const id = columns.includes('id') ? 'id' : undefined;
  const missing = (field: string) => new UsageError(`${source}, line 1: no field ${field}`);
  if (wanted.reads === 'image') {
    const { tried, asked } = imageFields(wanted);
    const image = tried.find((field) => columns.includes(field));
    if (image === undefined) throw missing(asked);
    const inputs: NamedInput[] = [];
    for (const record of await loadRecords(source, 'eval', { image, id }, '.'))
      inputs.push({ id: record.id, input: { image: await record.image!() } });
    return inputs;
  }
  const absent = wanted.fields.find((field) => !columns.includes(field));
  if (absent !== undefined) throw missing(absent);
  const text = wanted.fields.length > 0 ? [...wanted.fields] : columns.filter((column) => column !== id);
  const records = await loadRecords(source, 'eval', { id, text }, '.');
  return records.map((record) => ({ id: record.id, input: { text: record.text! } }));
}

function read(file: string | 0, name: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UsageError(
      `${name}: ${code === 'ENOENT' ? 'there is no such file' : `cannot be read (${code})`}`,
    );
  }
}
