// A receipt as a file, and its check with nothing but a public key. The file is canonical JSON, and each of its values is
// signed or hashed into something signed: no bit of it can change unseen.
import { type CanonicalValue, canonicalJson, sha256Hex } from '@s3t/algorithm';
import * as v from 'valibot';
import type { Bytes } from './bytes.ts';
import { type Checkpoint, openCheckpoint } from './checkpoint.ts';
import { entryBytes, type LogEntry } from './entry.ts';
import { type Envelope, openEnvelope } from './envelope.ts';
import { type PublicKey, parsePublicKey } from './keys.ts';
import { leafHash, verifyInclusion } from './merkle.ts';
import { type ErasureStatement, PAYLOAD_TYPE, statementSchema } from './statement.ts';

const FORMAT = 's3t-receipt-1';

export interface ReceiptFile {
  format: typeof FORMAT;
  /** See `PublicKey.text`. */
  publicKey: string;
  /** The signed statement. */
  envelope: Envelope;
  /** The log's entry of the acknowledgement, which names the statement's digest. */
  entry: LogEntry;
  /** Where the entry lies in the log, and its audit path. */
  inclusion: { index: number; size: number; hashes: string[] };
  /** The log right after the entry, as a signed note. */
  checkpoint: string;
}

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const fileSchema = v.strictObject({
  format: v.literal(FORMAT, `must be ${JSON.stringify(FORMAT)}`),
  publicKey: v.string(),
  envelope: v.strictObject({
    payloadType: v.string(),
    payload: v.string(),
    signatures: v.array(v.strictObject({ keyid: v.string(), sig: v.string() })),
  }),
  entry: v.strictObject({
    ...{ seq: count, kind: v.string(), at: count, previous: v.string() },
    payload: v.unknown(),
  }),
  inclusion: v.strictObject({ index: count, size: count, hashes: v.array(v.string()) }),
  checkpoint: v.string(),
});

const acknowledgement = v.object({
  ...{ erasure: v.string(), statement: v.string() },
  ...{ destroyedAt: v.number(), destroyed: v.array(v.string()) },
});

const repair = v.object({
  ...{ erasure: v.string(), statement: v.string() },
  served: v.object({ version: count, manifest: v.string() }),
});

/** The text of a receipt's file. */
export function formatReceipt(file: Omit<ReceiptFile, 'format'>): string {
  return `${canonicalJson({ format: FORMAT, ...file } as unknown as CanonicalValue)}\n`;
}

/** One thing that was looked at. */
export interface ReceiptCheck {
  check: 'file' | 'public key' | 'signature' | 'statement' | 'checkpoint' | 'log entry' | 'inclusion';
  ok: boolean;
  /** What was found; where it failed, why. One line. */
  detail: string;
}

export interface ReceiptVerification {
  valid: boolean;
  /** In order; it ends with the first that failed. */
  checks: ReceiptCheck[];
  /** What the receipt says; null unless it is valid. */
  statement: ErasureStatement | null;
}

/**
 * Checks a receipt's file. Reads nothing else, and never throws.
 * @param trusted the key that must have signed it, as `PublicKey.text`. Left out, the key in the file is taken: that shows the file
 * to be whole, but not who wrote it.
 */
export async function verifyReceipt(file: Uint8Array, trusted?: string): Promise<ReceiptVerification> {
  const checks: ReceiptCheck[] = [];
  const check = async <T>(
    name: ReceiptCheck['check'],
    work: () => T | Promise<T>,
    tell: (found: T) => string,
  ): Promise<T> => {
    try {
      const found = await work();
      checks.push({ check: name, ok: true, detail: tell(found) });
      return found;
    } catch (error) {
      checks.push({ check: name, ok: false, detail: (error as Error).message.replace(/\s+/g, ' ') });
      throw error;
    }
  };
  try {
    const receipt = await check(
      'file',
      () => parseFile(file),
      () => `a whole ${FORMAT}, ${file.length} bytes`,
    );
    const key = await check(
      'public key',
      () => trustedKey(receipt, trusted),
      ({ name, id }) =>
        `${id} of ${name}${trusted === undefined ? ', taken from the file: compare it with the one you were given' : ', the given one'}`,
    );
    const body = await check(
      'signature',
      () => openEnvelope(receipt.envelope, PAYLOAD_TYPE, key),
      () => `Ed25519 over the statement, by key ${key.id}`,
    );
    const statement = await check(
      'statement',
      () => parseStatement(body, key),
      ({ predicate }) =>
        `erasure ${predicate.erasure}: records ${predicate.records.count}, stages deactivated ${predicate.deactivated.length}, acknowledged ${predicate.times.acknowledged}`,
    );
    const checkpoint = await check(
      'checkpoint',
      () => openCheckpoint(receipt.checkpoint, key),
      ({ size, root }) => `signed: the log has ${size} entries and root ${root}`,
    );
    await check(
      'log entry',
      () => checkEntry(receipt.entry, body, statement),
      () =>
        `entry ${receipt.entry.seq} ${receipt.entry.kind === 'repair' ? 'says when this erasure was repaired,' : 'acknowledges this erasure'} with this statement`,
    );
    await check(
      'inclusion',
      () => checkInclusion(receipt, checkpoint),
      () => `entry ${receipt.entry.seq} is in the log with that root`,
    );
    return { valid: true, checks, statement };
  } catch {
    return { valid: false, checks, statement: null };
  }
}

function parseFile(bytes: Uint8Array): ReceiptFile {
  let value: unknown;
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(text);
  } catch {
    throw new Error('is not JSON');
  }
  const file = parsed(fileSchema, value) as ReceiptFile;
  if (formatReceipt(file) !== text) throw new Error('is not written as a receipt is: it was changed');
  return file;
}

async function trustedKey({ publicKey }: ReceiptFile, trusted: string | undefined): Promise<PublicKey> {
  const key = await parsePublicKey(trusted ?? publicKey);
  if (publicKey !== key.text) throw new Error(`the receipt is of ${publicKey}, not of the given ${key.text}`);
  return key;
}

function parseStatement(body: Bytes, key: PublicKey): ErasureStatement {
  const statement = parsed(statementSchema, JSON.parse(new TextDecoder().decode(body)));
  const { subject, predicate } = statement;
  if (predicate.log !== key.name) throw new Error(`is about the log ${predicate.log}, not ${key.name}`);
  if (subject[0].digest.sha256 !== predicate.after.manifest.sha256)
    throw new Error('is about another manifest than the one after the erasure');
  if (new Set(predicate.records.commitments).size !== predicate.records.count)
    throw new Error('commits to another number of records than it says');
  return statement;
}

function checkEntry({ kind, at, payload }: LogEntry, body: Bytes, { predicate }: ErasureStatement): void {
  if (kind === 'repair') {
    checkRepair(at, payload, body, predicate);
    return;
  }
  if (kind !== 'acknowledge') throw new Error(`is of kind ${kind}, not acknowledge`);
  const { erasure, statement, destroyedAt, destroyed } = parsed(acknowledgement, payload);
  if (erasure !== predicate.erasure) throw new Error(`acknowledges another erasure, ${erasure}`);
  if (statement !== sha256Hex(body)) throw new Error('names the digest of another statement');
  const { acknowledged, destroyed: gone } = predicate.times;
  if (at !== Date.parse(acknowledged) || destroyedAt !== Date.parse(gone))
    throw new Error('names other times than the statement');
  const deactivated = new Set(predicate.deactivated.map(({ weights }) => weights.sha256));
  if (!destroyed.every((weights) => deactivated.has(weights)))
    throw new Error('destroyed weights that the statement does not name');
}

function checkRepair(
  at: number,
  payload: unknown,
  body: Bytes,
  { erasure, times, repaired }: ErasureStatement['predicate'],
): void {
  const told = parsed(repair, payload);
  if (told.erasure !== erasure) throw new Error(`repairs another erasure, ${told.erasure}`);
  if (told.statement !== sha256Hex(body)) throw new Error('names the digest of another statement');
  const { version, manifest } = told.served;
  if (
    times.repaired === undefined ||
    at !== Date.parse(times.repaired) ||
    version !== repaired?.version ||
    manifest !== repaired.manifest.sha256
  )
    throw new Error('names another repair than the statement');
}

function checkInclusion({ entry, inclusion }: ReceiptFile, { size, root }: Checkpoint): void {
  const { index, hashes } = inclusion;
  if (index !== entry.seq) throw new Error(`is of leaf ${index}, not of entry ${entry.seq}`);
  if (inclusion.size !== size) throw new Error(`is in a log of ${inclusion.size} entries, not ${size}`);
  const leaf = leafHash(entryBytes(entry));
  if (!verifyInclusion({ leaf, index, size, root }, hashes))
    throw new Error('the entry is not in the log that the checkpoint is of');
}

/** @throws Error that names the field */
function parsed<T>(schema: v.GenericSchema<unknown, T>, value: unknown): T {
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  const issue = result.issues[0];
  throw new Error(`${v.getDotPath(issue) ?? 'all of it'}: ${problem(issue)}`);
}

/** valibot's own messages say "Invalid type: Expected number but received ..."; ours say what is wanted. */
function problem({ type, expected, received, message }: v.BaseIssue<unknown>): string {
  if (type === 'strict_object' && expected === 'never') return 'there is no such field';
  if (received === 'undefined') return 'is missing';
  return message.startsWith('Invalid') ? `must be ${expected}, not ${received}` : message;
}
