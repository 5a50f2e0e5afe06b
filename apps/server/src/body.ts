import type { Context, MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import * as v from 'valibot';
import { Problem } from './problem.ts';

/** Refuses bodies of more than `maxSize` bytes, before or while they are read. */
export function limitBody(maxSize: number): MiddlewareHandler {
  const refuse = () => {
    throw new Problem(413, 'too-large', `the body may have at most ${maxSize} bytes`);
  };
  const counted = bodyLimit({ maxSize, onError: refuse });
  return async (c, next) => {
    const length = c.req.header('content-length');
    // The runtime reads no more than was announced. Hono looks at the body's stream first, and where there is one, Node's adapter reads the
    // body through it: half of what a request costs.
    if (length === undefined || c.req.header('transfer-encoding') !== undefined) return counted(c, next);
    if (Number(length) > maxSize) refuse();
    await next();
  };
}

/**
 * The request's JSON body, checked. `most` says how many items its lists may hold: counted before the items are looked at, so that
 * a list of a million costs nothing.
 */
export async function readBody<T>(
  c: Context,
  schema: v.GenericSchema<T>,
  most: { fields: readonly string[]; items: number },
): Promise<T> {
  const type = c.req.header('content-type')?.split(';')[0]?.trim().toLowerCase();
  if (type !== 'application/json') {
    throw new Problem(415, 'content-type', 'the body must be application/json');
  }
  const body = await parsed(c);
  for (const path of most.fields) {
    const list =
      typeof body === 'object' && body !== null ? (body as Record<string, unknown>)[path] : undefined;
    if (Array.isArray(list) && list.length > most.items)
      throw new Problem(413, 'too-many', `at most ${most.items} items`, { path });
  }
  return checked(schema, body);
}

/** `value` as `schema` wants it, or a 400 that names the field and never repeats what was sent. */
export function checked<T>(schema: v.GenericSchema<unknown, T>, value: unknown, at?: string): T {
  // Stops at the first fault: a big body full of faults must not become a bigger list of them.
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const { issue, path: keys } = nearest(result.issues[0]);
  const path = [...(at === undefined ? [] : [at]), ...keys.map(stepOf)].join('.');
  throw new Problem(400, 'invalid', complaint(issue), path === '' ? {} : { path: path.slice(0, 200) });
}

/** A step of a path. The client names fields too, and may do so with anything: only what looks like a field's name is repeated. */
function stepOf(key: unknown): string {
  return /^\w[\w-]{0,63}$/.test(String(key)) ? String(key) : '?';
}

/** What is wrong, and where. Of alternatives, with the one that the value fits furthest into. */
function nearest(issue: v.BaseIssue<unknown>): { issue: v.BaseIssue<unknown>; path: unknown[] } {
  const path = (issue.path ?? []).map(({ key }) => key);
  if (issue.type !== 'union') return { issue, path };
  const deepest = (issue.issues ?? [])
    .map(nearest)
    .reduce((best, other) => (other.path.length > best.path.length ? other : best), {
      issue,
      path: [] as unknown[],
    });
  return { issue: deepest.issue, path: [...path, ...deepest.path] };
}

async function parsed(c: Context): Promise<unknown> {
  let text: string;
  try {
    text = await c.req.text();
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem(400, 'unreadable', 'the body could not be read');
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new Problem(400, 'json', 'the body is not JSON');
  }
}

/** What kinds of values are called. */
const KINDS: Record<string, string> = {
  Object: 'an object',
  Array: 'a list',
  string: 'a text',
  number: 'a number',
  boolean: 'true or false',
};

/** In our words: valibot's own repeat the value. */
function complaint(issue: v.BaseIssue<unknown>): string {
  const { type, expected, received, message } = issue;
  if (expected === 'never') return 'unknown field';
  if (received === 'undefined') return 'required';
  if (['custom', 'check', 'regex', 'union'].includes(type)) return message;
  if (type === 'integer') return 'expected a whole number';
  const { requirement } = issue as { requirement?: unknown };
  const bound = /^(min|max)_/.exec(type)?.[1];
  const most = bound === undefined ? '' : bound === 'min' ? 'at least ' : 'at most ';
  if (/value$/.test(type)) return `expected ${most}${requirement}`;
  if (/length$/.test(type)) {
    const unit = typeof issue.input === 'string' ? 'character' : 'item';
    return `expected ${most}${requirement} ${unit}${requirement === 1 ? '' : 's'}`;
  }
  return expected === null ? `invalid ${type}` : `expected ${KINDS[expected] ?? expected}`;
}
