import { UnlearnerError } from '@s3t/unlearner';
import { expect, it } from 'vitest';
import { errorOf, failureOf } from './child/protocol.ts';
import { hidesCause, problemOf } from './problem.ts';

const coded = (code: string, message: string, cause?: unknown) =>
  Object.assign(new Error(message, { cause }), { code });

it.each([
  ['a file that cannot be written', coded('ENOSPC', 'ENOSPC: no space left on device, write'), 507],
  ['a quota', coded('EDQUOT', 'EDQUOT: quota exceeded, write'), 507],
  ['a table that cannot grow', coded('53100', 'could not extend file "base/5/16513"'), 507],
  ['no permission', coded('EACCES', 'EACCES: permission denied'), 503],
])('answers %s by whether the disk is full, without its file, wherever the run is', (_, cause, status) => {
  const ledger = coded('database', "the ledger's database failed: /runs/a/ledger", cause);
  const error = new UnlearnerError('store', ledger.message, { cause: ledger });
  for (const thrown of [error, errorOf(failureOf(error))]) {
    const problem = problemOf(thrown);
    expect(problem).toMatchObject({ status, code: 'store', retryAfter: expect.any(Number) });
    expect(problem.message).not.toContain('/');
    expect(hidesCause(problem)).toBe(true);
  }
});
