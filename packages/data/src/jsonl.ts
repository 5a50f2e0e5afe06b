import { DataError } from './errors.ts';
import type { Row } from './rows.ts';
import { linesOf } from './text.ts';

/** Rows of JSON Lines: one object a line; blank lines are skipped and not counted. */
export function jsonlRows(bytes: Uint8Array, file: string): Row[] {
  const rows: Row[] = [];
  for (const { text, number: line } of linesOf(bytes, file)) {
    if (text.trim() === '') continue;
    const place = { file, row: rows.length, line };
    const object = parse(text, place);
    // hasOwn: a field called "constructor" must be missing where it is missing.
    rows.push({ line, get: (field) => (Object.hasOwn(object, field) ? object[field] : undefined) });
  }
  return rows;
}

/** Rows of a JSON file that holds one array of objects, as Alpaca is published. */
export function jsonRows(bytes: Uint8Array, file: string): Row[] {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new DataError('is not valid JSON', { file });
  }
  if (!Array.isArray(value)) throw new DataError('does not hold an array of objects', { file });
  return value.map((object: unknown, row) => {
    if (typeof object !== 'object' || object === null || Array.isArray(object))
      throw new DataError('is not a JSON object', { file, row });
    const fields = object as Record<string, unknown>;
    return { get: (field) => (Object.hasOwn(fields, field) ? fields[field] : undefined) };
  });
}

function parse(text: string, place: { file: string; row: number; line: number }): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    // Only the position: the rest of the engine's message quotes the record.
    const column = /position (\d+)/.exec(error instanceof Error ? error.message : '')?.[1];
    const where = column === undefined ? '' : ` (column ${Number(column) + 1})`;
    throw new DataError(`is not valid JSON${where}; JSON Lines has one object per line`, place);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new DataError('is not a JSON object', place);
  }
  return value as Record<string, unknown>;
}
