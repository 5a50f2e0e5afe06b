/** Where in a data set something is wrong. */
export interface DataPlace {
  /** Absolute path of the file (or folder). */
  file: string;
  /** Name of the field or column, where there is one. */
  field?: string | undefined;
  /** Number of the record within the file, from 0. */
  row?: number | undefined;
  /** Line of a text file, from 1, as editors count; a quoted CSV record of several lines is named by its last. */
  line?: number | undefined;
}

/**
 * A data set cannot be used as it is. The message is one line that names file, row and field.
 *
 * It never quotes more of a record than the beginning of the one value it is about (a label, an id, a file name), and has no `cause`:
 * the errors of JSON.parse and csv-parse quote what they choked on, and logs are no place for people's data.
 */
export class DataError extends Error {
  override readonly name: string = 'DataError';
  readonly file: string;
  readonly field?: string;
  readonly row?: number;
  readonly line?: number;

  constructor(problem: string, place: DataPlace) {
    // One line, whatever files and fields are called.
    super(`${describePlace(place)}: ${problem}`.replace(/[\p{Cc}\u2028\u2029]+/gu, ' '));
    this.file = place.file;
    if (place.field !== undefined) this.field = place.field;
    if (place.row !== undefined) this.row = place.row;
    if (place.line !== undefined) this.line = place.line;
  }
}

export function describePlace({ file, field, row, line }: DataPlace): string {
  const parts = [file, describeRow({ row, line })].filter(Boolean);
  if (field !== undefined) parts.push(`field ${quote(field)}`);
  return parts.join(', ');
}

/** The row of a place; empty where it has none. */
export function describeRow({ row, line }: Pick<DataPlace, 'row' | 'line'>): string {
  if (line === undefined) return row === undefined ? '' : `row ${row}`;
  return row === undefined ? `line ${line}` : `line ${line} (row ${row})`;
}

/** A value for an error message: on one line, and cut after 40 characters. */
export function quote(value: string): string {
  return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
}
