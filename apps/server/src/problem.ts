import type { Context } from 'hono';
import { HTTPException } from 'hono/http-exception';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { errorBody } from './dialect.ts';

/** Something to tell the client: becomes `{error: {message, code, path?}}`, or what clients of another API expect (see `errorBody`). */
export class Problem extends Error {
  readonly status: ContentfulStatusCode;
  /** Stable, for programs. */
  readonly code: string;
  /** The field at fault, e.g. `inputs.0.image.width`. */
  readonly path: string | undefined;
  /** Seconds. */
  readonly retryAfter: number | undefined;

  constructor(
    status: ContentfulStatusCode,
    code: string,
    message: string,
    extra: { path?: string; retryAfter?: number } = {},
  ) {
    super(message);
    this.name = 'Problem';
    this.status = status;
    this.code = code;
    this.path = extra.path;
    this.retryAfter = extra.retryAfter;
  }
}

/** How the errors a run throws on purpose are answered. Everything else is our fault: 500, and its text stays in the log. */
const statusOf: Readonly<Record<string, ContentfulStatusCode>> = {
  usage: 400,
  'unknown-record': 404,
  'unknown-subject': 404,
  'already-erased': 409,
  'idempotency-conflict': 422,
  unavailable: 503,
};

/** Turns anything thrown into a problem that is safe to show. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof HTTPException)
    return new Problem(error.status, 'http', error.message || 'bad request');
  const code = codeOf(error);
  if (code === 'store') return storeProblem(error);
  const status = code === undefined ? undefined : statusOf[code];
  if (code === undefined || status === undefined) {
    return new Problem(
      500,
      'internal',
      "the server failed; its log says why, and nothing of this request's answer is lost",
    );
  }
  const { path, text } = located(error as Error, code);
  return new Problem(status, code, text, { path, retryAfter: status === 503 ? 5 : undefined });
}

/** What a disk without room is called by the system, and by PostgreSQL. */
const FULL = new Set(['ENOSPC', 'EDQUOT', '53100']);

/** What a run keeps could not be written or read. The error names files, an answer does not: it says whether asking again helps. */
function storeProblem(error: unknown): Problem {
  for (let cause = error; cause instanceof Error; cause = cause.cause)
    if (FULL.has(codeOf(cause) ?? ''))
      return new Problem(
        507,
        'store',
        "the server's disk is full: nothing is acknowledged; ask again once there is room, with the same Idempotency-Key",
        { retryAfter: 30 },
      );
  const message =
    'the server cannot write or read what it keeps: nothing is acknowledged; ask again, with the same Idempotency-Key';
  return new Problem(503, 'store', message, { retryAfter: 5 });
}

/** Whether an answer keeps back what went wrong: then the log has to say it. */
export function hidesCause({ status, code }: Problem): boolean {
  return status === 500 || code === 'store';
}

/** The field an error is about, and what to say of it. */
function located({ message, cause }: Error, code: string): { path: string | undefined; text: string } {
  // The run names records and subjects as they are called. That is personal data: an answer, which others may log, says where they stood in the request.
  if (cause instanceof Error && 'indexes' in cause && Array.isArray(cause.indexes)) {
    const list = code === 'unknown-subject' ? 'subjects' : 'records';
    return { path: `${list}.${cause.indexes[0]}`, text: cause.message };
  }
  // A faulty field stands in front of the message.
  const [, path, text = message] =
    /^(inputs\.\d+(?:\.\S+)?|(?:records|subjects)(?:\.\d+)?|messages|evaluate|from|to): (.*)$/s.exec(
      message,
    ) ?? [];
  // Sizes of the log are asked for in the query.
  return { path: path === 'from' || path === 'to' ? `query.${path}` : path, text };
}

/** The `code` of an error that its thrower meant to be seen. */
export function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

export function respondProblem(c: Context, problem: Problem): Response {
  if (problem.retryAfter !== undefined) c.header('Retry-After', String(problem.retryAfter));
  return c.json(errorBody(c.req.path, problem), problem.status);
}
