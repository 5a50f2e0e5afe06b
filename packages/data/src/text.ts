import { DataError } from './errors.ts';

// Fatal: a wrong byte must not silently become U+FFFD in what a model learns. A byte order mark is dropped.
const utf8 = new TextDecoder('utf-8', { fatal: true });

/** One line of a text file. */
export interface Line {
  text: string;
  /** From 1. */
  number: number;
}

/** The lines of UTF-8 bytes, without their ends. Decoded one by one, so that an error has a line and no string grows beyond what the engine allows. */
export function* linesOf(bytes: Uint8Array, file: string): Generator<Line> {
  let number = 1;
  for (let start = 0; start < bytes.length; number++) {
    const feed = bytes.indexOf(0x0a, start);
    const end = feed < 0 ? bytes.length : feed;
    const crlf = end > start && bytes[end - 1] === 0x0d;
    yield { text: decode(bytes.subarray(start, crlf ? end - 1 : end), file, number), number };
    start = end + 1;
  }
}

/** All of a UTF-8 text. @throws DataError naming the first line that is not UTF-8 */
export function textOf(bytes: Uint8Array, file: string): string {
  try {
    return utf8.decode(bytes);
  } catch {
    for (const _ of linesOf(bytes, file));
    throw new DataError('is too large to read as one text; write it as JSON Lines', { file });
  }
}

function decode(bytes: Uint8Array, file: string, line: number): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new DataError('is not UTF-8 text', { file, line });
  }
}
