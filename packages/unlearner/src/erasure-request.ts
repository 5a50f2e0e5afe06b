import { digestOf, recordKey, subjectKey } from '@s3t/algorithm';
import { AlreadyErasedError, type Ledger, UnknownRecordError, UnknownSubjectError } from '@s3t/ledger';
import { UnlearnerError } from './errors.ts';
import type { ErasureTarget } from './types.ts';

/** An erasure as the ledger takes it. */
export interface ErasureRequest {
  keys: string[];
  subjects: string[];
  /** Equal for equal requests of this run, in whatever order they name things. */
  requestDigest: string;
}

/** Checks what is to be erased. @throws UnlearnerError `usage` for nothing, `unknown-record` or `unknown-subject` for what cannot be one */
export async function erasureRequest(
  { records = [], subjects = [] }: ErasureTarget,
  { ledger, field }: { ledger: Ledger; field: string | undefined },
): Promise<ErasureRequest> {
  if (records.length === 0 && subjects.length === 0)
    throw new UnlearnerError('usage', 'records: there are none');
  if (subjects.length > 0 && field === undefined)
    throw new UnlearnerError(
      'usage',
      'subjects: the configuration of this run names no data.subject; erase by record id',
    );
  const keys = keysOf(records, recordKey, 'record');
  const subjectKeys = keysOf(subjects, subjectKey, 'subject');
  // Of commitments: a digest of the keys themselves would tell anybody who can guess an id whether it was erased.
  const commitments = await Promise.all(keys.map((key) => ledger.commitment(key)));
  const hashes = await Promise.all(subjectKeys.map((key) => ledger.subjectHash(key)));
  const named = [...new Set(commitments)].sort();
  const about = [...new Set(hashes)].sort();
  const requestDigest = digestOf(about.length === 0 ? named : { records: named, subjects: about });
  return { keys, subjects: subjectKeys, requestDigest };
}

function keysOf(
  names: readonly string[],
  keyOf: (name: string) => string,
  what: 'record' | 'subject',
): string[] {
  return names.map((name, index) => {
    if (typeof name !== 'string' || !name.isWellFormed())
      throw new UnlearnerError(`unknown-${what}`, `${what}s.${index}: is no ${what} id; nothing was erased`);
    return keyOf(name);
  });
}

/** The ledger knows records and subjects by their keys; whoever asked knows them by their names. */
export function namedError(error: unknown, { records = [], subjects = [] }: ErasureTarget): unknown {
  if (error instanceof UnknownRecordError)
    return told(error, 'unknown-record', records, 'records are not in this run', 'nothing was erased');
  if (error instanceof UnknownSubjectError)
    return told(
      error,
      'unknown-subject',
      subjects,
      'subjects have no record in this run, or none any more',
      'nothing was erased',
    );
  if (error instanceof AlreadyErasedError)
    return told(error, 'already-erased', records, 'records are erased before', 'nothing was changed');
  return error;
}

function told(
  cause: Error & { indexes: readonly number[] },
  code: UnlearnerError['code'],
  names: readonly string[],
  what: string,
  end: string,
): UnlearnerError {
  const { indexes } = cause;
  const shown = indexes.slice(0, 10).map((index) => JSON.stringify(names[index]));
  const list = indexes.length > shown.length ? [...shown, '...'].join(', ') : shown.join(', ');
  return new UnlearnerError(code, `${indexes.length} of ${names.length} ${what} (${list}); ${end}`, {
    cause,
  });
}
