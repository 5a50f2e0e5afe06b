import { dirname, resolve } from 'node:path';
import { recordDigest } from './digest.ts';
import { DataError, type DataPlace, describePlace, describeRow, quote } from './errors.ts';
import { readBytes } from './files.ts';
import { fileImage, sharpDecoder } from './image.ts';
import { checkLabel } from './labels.ts';
import { mapInOrder } from './parallel.ts';
import type { DataOptions, DataRecord, Split } from './record.ts';

/** One row of a table, whatever the file format. */
export interface Row {
  /** Line of a text file, from 1; none where a row is not a line. */
  line?: number;
  /** Where it lies, of a table in several files: the file, and the number of the row in it. */
  part?: { file: string; row: number };
  /** The value of a field; undefined if the row does not have it. */
  get(field: string): unknown;
}

/** Turns the rows of a table file into records. @throws DataError */
export async function recordsOfRows(
  rows: readonly Row[],
  file: string,
  split: Split,
  options: DataOptions,
): Promise<DataRecord[]> {
  if (options.image === undefined && !options.text?.length) {
    throw new DataError('data.text or data.image must name a field to learn from', { file });
  }
  if (rows.length === 0) throw new DataError('holds no records', { file });
  const records = await mapInOrder(rows, (row, index) => recordOf(row, index, file, split, options));
  refuseDuplicates(records, rows, file, options.id);
  refuseTwoForms(records, rows, file, options.subject);
  return records;
}

async function recordOf(
  source: Row,
  row: number,
  file: string,
  split: Split,
  options: DataOptions,
): Promise<DataRecord> {
  const place = (field: string): DataPlace => placeOf(source, row, file, field);
  const read = (field: string, scalar: boolean): string => readField(source.get(field), scalar, place(field));

  const id =
    options.id === undefined ? `${split}/${row}` : checkId(read(options.id, true), place(options.id));
  let label: string | null = null;
  if (options.label !== undefined) {
    const where = place(options.label);
    label = checkLabel(filled(read(options.label, true), where), options.labels, where);
  }
  const record: DataRecord = { id, label, digest: '' };
  if (options.subject !== undefined && source.get(options.subject) !== null) {
    const subject = read(options.subject, true);
    if (subject !== '') record.subject = checkId(subject, place(options.subject));
  }
  if (options.risk !== undefined && source.get(options.risk) !== null) {
    const risk = read(options.risk, true);
    if (risk !== '') record.risk = checkId(risk, place(options.risk));
  }
  if (options.text?.length) {
    // fromEntries makes own properties even of names such as "__proto__".
    record.text = Object.fromEntries(options.text.map((field) => [field, read(field, false)]));
  }
  if (options.image === undefined) {
    record.digest = recordDigest(record as Omit<DataRecord, 'image'>);
    return record;
  }
  const where = place(options.image);
  const stored = storedImage(source.get(options.image));
  if (stored) {
    record.digest = recordDigest({ ...record, image: stored });
    const { decoder = sharpDecoder } = options;
    record.image = () => decoder.decode(stored, where);
    return record;
  }
  const path = resolve(dirname(where.file), filled(read(options.image, false), where));
  record.digest = recordDigest({ ...record, image: await readBytes(path, where) });
  record.image = fileImage(path, record, { decoder: options.decoder, row: where.row });
  return record;
}

function placeOf(source: Row, row: number, file: string, field?: string): DataPlace {
  return { ...(source.part ?? { file, row }), field, line: source.line };
}

/** The bytes of an image file that lies in the table itself, as hubs keep them in parquet: `{bytes, path}`, or the bytes alone. */
function storedImage(value: unknown): Uint8Array | null {
  const bytes = value && typeof value === 'object' && 'bytes' in value ? value.bytes : value;
  return bytes instanceof Uint8Array ? bytes : null;
}

const kinds: Record<string, string> = { number: 'a number', boolean: 'a boolean', object: 'an object' };

/** A field as text. `scalar`: numbers and booleans are written out (ids and labels); text must be text. */
function readField(value: unknown, scalar: boolean, place: DataPlace): string {
  if (typeof value === 'string') return value;
  if (value === undefined) throw new DataError('is missing', place);
  if (scalar && typeof value === 'boolean') return String(value);
  if (scalar && typeof value === 'number') {
    // JSON.parse rounds 2^53 + 1 and beyond: two people could get one id.
    if (Math.abs(value) <= Number.MAX_SAFE_INTEGER) return String(value);
    throw new DataError('is a number too large to be exact; write it as a string', place);
  }
  throw new DataError(`must be a string${scalar ? ' or a number' : ''}, found ${found(value)}`, place);
}

function found(value: unknown): string | undefined {
  if (value === null) return 'null';
  if (value instanceof Uint8Array) return 'bytes that are not declared as text or are no UTF-8';
  return Array.isArray(value) ? 'an array' : kinds[typeof value];
}

function filled(value: string, place: DataPlace): string {
  if (value === '') throw new DataError('is empty', place);
  return value;
}

function checkId(id: string, place: DataPlace): string {
  // Lone surrogates have no UTF-8 form: keyed hashes of such ids would collide.
  if (!filled(id, place).isWellFormed()) throw new DataError('is not well-formed Unicode', place);
  return id;
}

function refuseDuplicates(
  records: readonly DataRecord[],
  rows: readonly Row[],
  file: string,
  field?: string,
): void {
  const seen = new Map<string, number>();
  records.forEach(({ id }, row) => {
    const first = seen.get(id);
    if (first !== undefined) {
      const { place, where } = twoPlaces(rows, first, row, file, field);
      throw new DataError(`id ${quote(id)} is already that of ${where}; ids must be unique`, place);
    }
    seen.set(id, row);
  });
}

/** To a reader one name in two Unicode forms is one person; erased by either, the records of the other would stay. */
function refuseTwoForms(
  records: readonly DataRecord[],
  rows: readonly Row[],
  file: string,
  field?: string,
): void {
  const seen = new Map<string, number>();
  records.forEach(({ subject }, row) => {
    if (subject === undefined) return;
    const form = subject.normalize('NFC');
    const first = seen.get(form);
    if (first === undefined) seen.set(form, row);
    else if (records[first]?.subject !== subject) {
      const { place, where } = twoPlaces(rows, first, row, file, field);
      throw new DataError(
        `${quote(subject)} is written in another Unicode form in ${where}; choose one`,
        place,
      );
    }
  });
}

/** The place of a row that does not go with an earlier one, and where that is, without the file if it is the same. */
function twoPlaces(
  rows: readonly Row[],
  first: number,
  row: number,
  file: string,
  field?: string,
): { place: DataPlace; where: string } {
  const place = placeOf(rows[row] as Row, row, file, field);
  const before = placeOf(rows[first] as Row, first, file);
  return { place, where: before.file === place.file ? describeRow(before) : describePlace(before) };
}
