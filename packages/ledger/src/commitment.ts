import { createHmac } from 'node:crypto';

/**
 * What stands for an erased record once its key is gone: HMAC-SHA-256 of `erased <key>` under the run's salt. Without the salt nobody
 * can tell whose it was. (Node's own HMAC: reading a million records against the erased ones takes two seconds, not ten.)
 */
export function commitmentOf(salt: string, key: string): string {
  return createHmac('sha256', Buffer.from(salt, 'hex')).update(`erased ${key}`).digest('hex');
}

/** What the ledger knows the subject of a record by: HMAC-SHA-256 of `subject <key>` under the run's salt, so that no name can be tried without it. */
export function subjectHashOf(salt: string, key: string): string {
  return createHmac('sha256', Buffer.from(salt, 'hex')).update(`subject ${key}`).digest('hex');
}
