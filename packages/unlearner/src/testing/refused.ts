import { expect } from 'vitest';
import { UnlearnerError, type UnlearnerErrorCode } from '../errors.ts';

/** The work is refused in one line that says all of `parts`, with the right code. */
export async function refused(
  work: Promise<unknown>,
  code: UnlearnerErrorCode,
  ...parts: string[]
): Promise<UnlearnerError> {
  const error = await work.then(
    () => expect.unreachable('it was not refused'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(UnlearnerError);
  const { message } = error as UnlearnerError;
  expect(message).toMatch(/^[^\n]+$/);
  for (const part of parts) expect(message).toContain(part);
  expect({ code: (error as UnlearnerError).code, message }).toEqual({ code, message });
  return error as UnlearnerError;
}
