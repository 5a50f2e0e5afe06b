import { DataError } from './errors.ts';
import type { Row } from './rows.ts';
import { linesOf, textOf } from './text.ts';

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
  const text = textOf(bytes, file);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const position = positionOf(error);
    const line = position === undefined ? undefined : text.slice(0, position).split('\n').length;
    throw new DataError('is not valid JSON', { file, line });
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
    const position = positionOf(error);
    const where = position === undefined ? '' : ` (column ${position + 1})`;
    throw new DataError(`is not valid JSON${where}; JSON Lines has one object per line`, place);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new DataError('is not a JSON object', place);
  }
  return value as Record<string, unknown>;
}

/** Where JSON.parse gave up, if the engine says so. Only that: the rest of its message quotes the record. */
function positionOf(error: unknown): number | undefined {
  const position = /position (\d+)/.exec(error instanceof Error ? error.message : '')?.[1];
  return position === undefined ? undefined : Number(position);
}
