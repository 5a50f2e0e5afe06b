import { codeOf } from './problem.ts';
import type { ServeOptions } from './serve.ts';

/** One answered request. Nothing of what was sent or answered, no address, no path: those may be personal. */
export interface RequestLine {
  /** ISO 8601. */
  at: string;
  /** As in the answer's `x-request-id`. Ours, never the client's. */
  id: string;
  method: string;
  /** The pattern, such as `/v1/erasures/:id`. */
  route: string;
  status: number;
  /** Until the answer's headers; an event stream goes on after them. */
  ms: number;
  /** Of the ensemble the answer names; null where it names none. */
  version: number | null;
  /** Id of the API key; null without one. */
  key: string | null;
}

/**
 * Makes an app write one line of JSON per request, one per notice, and one per fault of the server's own. A fault is told by its name, code and place:
 * its message may name a record.
 *
 * @example
 * createApp(run, jsonLog((line) => console.error(line)));
 */
export function jsonLog(
  write: (line: string) => void,
): Required<Pick<ServeOptions, 'onRequest' | 'onError' | 'onNotice'>> {
  return {
    onRequest: (line) => write(JSON.stringify(line)),
    onError: (error, request) => write(JSON.stringify(faultLine(error, request))),
    onNotice: (notice) => write(JSON.stringify({ at: new Date().toISOString(), notice })),
  };
}

function faultLine(error: unknown, request: string | undefined): object {
  const [name, stack] = error instanceof Error ? [error.name, error.stack ?? ''] : [typeof error, ''];
  const places = stack.match(/^\s+at .*$/gm) ?? [];
  return {
    at: new Date().toISOString(),
    id: request ?? null,
    error: name,
    code: codeOf(error) ?? null,
    stack: places.map((place) => place.trim()),
  };
}
