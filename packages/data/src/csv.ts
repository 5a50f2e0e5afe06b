import { CsvError, type Info, parse } from 'csv-parse/sync';
import { DataError } from './errors.ts';
import type { Row } from './rows.ts';
import { textOf } from './text.ts';

/**
 * Rows of CSV (RFC 4180, comma, quotes doubled inside quotes) or TSV, whose first line names the columns. Blank lines are skipped.
 *
 * TSV knows no quotes, as its media type says: a `"` is a character like any other. Sentences begin with quotes often enough (GLUE's do)
 * that reading them as CSV would merge records without a word.
 */
export function csvRows(bytes: Uint8Array, file: string, delimiter: ',' | '\t'): Row[] {
  const parsed = parseAll(textOf(bytes, file), file, delimiter);
  const header = parsed.shift()?.record;
  if (header === undefined) return [];
  // csv-parse counts a CRLF inside quotes as two lines.
  const crlfs = (record: string[]): number => record.join().split('\r\n').length - 1;
  let doubles = crlfs(header);
  const columns = new Map<string, number>();
  const doubled = new Set<string>();
  header.forEach((name, index) => {
    if (columns.has(name)) doubled.add(name);
    columns.set(name, index);
  });
  const column = (field: string): number => {
    const index = columns.get(field);
    if (index !== undefined && !doubled.has(field)) return index;
    // The header is not listed: in a file that has none, it would be somebody's record.
    const problem = doubled.has(field) ? 'two columns have this name' : 'no column has this name';
    throw new DataError(`${problem} (the first line must name the columns)`, { file, field });
  };
  return parsed.map(({ record, info }, row) => {
    doubles += crlfs(record);
    const line = info.lines - doubles;
    if (record.length !== header.length) {
      const problem = `has ${record.length} values, the header names ${header.length} columns`;
      throw new DataError(problem, { file, row, line });
    }
    return { line, get: (field) => record[column(field)] };
  });
}

interface Parsed {
  record: string[];
  info: Info;
}

/**
 * Both ends of lines, whichever the first line has: rows are appended by other programs than wrote the header. By csv-parse's own choice, that of
 * the first line, the carriage return would become part of the last value, which may be an id.
 */
function lineEnds(text: string): string[] {
  return /\r\n|\n|\r/.exec(text)?.[0] === '\r' ? ['\r'] : ['\r\n', '\n'];
}

function parseAll(text: string, file: string, delimiter: ',' | '\t'): Parsed[] {
  try {
    return parse(text, {
      delimiter,
      quote: delimiter === ',' ? '"' : false,
      record_delimiter: lineEnds(text),
      info: true,
      relax_column_count: true, // counted above, where the row is known
      skip_empty_lines: true,
    }) as unknown as Parsed[];
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    // Not csv-parse's own message: it quotes the value. It counts the header as a record; a quote that is never closed ends with the file.
    const row = typeof error.records === 'number' && error.records > 0 ? error.records - 1 : undefined;
    const line = error.code === 'CSV_QUOTE_NOT_CLOSED' ? undefined : Number(error.lines);
    throw new DataError(`is not valid CSV: ${problems[error.code] ?? error.code}`, { file, row, line });
  }
}

const problems: Record<string, string> = {
  CSV_INVALID_CLOSING_QUOTE: 'text follows a closing quote; quotes inside a quoted value are doubled ("")',
  CSV_QUOTE_NOT_CLOSED: 'a quote is never closed',
  INVALID_OPENING_QUOTE: 'a quote inside a value that is not quoted; quote the value and double the quote',
};
