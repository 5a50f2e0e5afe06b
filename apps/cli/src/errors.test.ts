import { expect, test } from 'vitest';
import { CommandError, explain, UsageError } from './errors.ts';

/** An error as another package throws it. */
function errorOf(name: string, code?: string): Error {
  return Object.assign(new Error('file.json: field: is missing'), { name, ...(code && { code }) });
}

test.each([
  [new UsageError('x'), 2],
  [errorOf('UnlearnerError', 'config'), 2],
  [errorOf('UnlearnerError', 'data'), 2],
  [errorOf('UnlearnerError', 'base'), 2],
  [errorOf('UnlearnerError', 'unknown-record'), 2],
  [errorOf('ServerError', 'unknown-subject'), 2],
  [errorOf('ServerError', 'invalid'), 2],
  [errorOf('DataError'), 2],
  [errorOf('ModelError'), 2],
  [new CommandError('x'), 1],
  [errorOf('UnlearnerError', 'already-erased'), 1],
  [errorOf('UnlearnerError', 'corrupt'), 1],
  [errorOf('UnlearnerError', 'held'), 1],
  [errorOf('UnlearnerError', 'store'), 1],
  [errorOf('ServerError', 'unreachable'), 1],
  [errorOf('AdapterError'), 1],
])('what was given wrongly exits 2, what failed 1: %s', (error, exitCode) => {
  expect(explain(error)).toEqual({ message: error.message, exitCode });
});
