// The check of receipts and of the log, in the browser: the same code that `s3t verify --receipt` runs. Loaded when somebody asks.
import {
  type Checkpoint,
  openCheckpoint,
  parsePublicKey,
  type ReceiptVerification,
  verifyConsistency,
  verifyReceipt,
} from '@s3t/ledger/log';
import { api } from './api.ts';

const SEEN = 's3t-checkpoint';

/** @param key left out, the key that the server names */
export async function checkReceipt(file: Uint8Array, key: string): Promise<ReceiptVerification> {
  return verifyReceipt(file, key === '' ? await api.publicKey() : key);
}

export interface LogCheck extends Checkpoint {
  key: string;
  /** The log this browser saw last, which this one was shown to have grown from. */
  since: { size: number; at: number } | null;
}

/**
 * Checks the signature of the log's checkpoint, and that the log only grew since this browser last saw it.
 * @throws Error that says what is wrong
 */
export async function checkLog(trusted: string): Promise<LogCheck> {
  const text = trusted === '' ? await api.publicKey() : trusted;
  const key = await parsePublicKey(text);
  const now = await openCheckpoint(await api.checkpoint(), key);
  const seen = remembered(now.origin);
  if (seen !== null) {
    if (seen.size > now.size) throw new Error(`the log had ${seen.size} entries and now has ${now.size}`);
    const path = await api.consistency(seen.size, now.size);
    const claim = { from: seen.size, oldRoot: seen.root, to: now.size, newRoot: now.root };
    if (!verifyConsistency(claim, path))
      throw new Error(`the log was rewritten: its first ${seen.size} entries are not those seen before`);
  }
  localStorage.setItem(
    `${SEEN} ${now.origin}`,
    JSON.stringify({ size: now.size, root: now.root, at: Date.now() }),
  );
  return { ...now, key: text, since: seen === null ? null : { size: seen.size, at: seen.at } };
}

function remembered(origin: string): { size: number; root: string; at: number } | null {
  try {
    return JSON.parse(localStorage.getItem(`${SEEN} ${origin}`) ?? 'null');
  } catch {
    return null;
  }
}
