import { sha256Hex } from '@s3t/algorithm';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { receiptParts } from '../testing/receipt.ts';
import { fromBase64, utf8 } from './bytes.ts';
import { signCheckpoint } from './checkpoint.ts';
import { entryBytes } from './entry.ts';
import { sealEnvelope } from './envelope.ts';
import { generateKey, type SigningKey, signingKeyOf } from './keys.ts';
import { leafHash } from './merkle.ts';
import { formatReceipt, type ReceiptFile, verifyReceipt } from './receipt-file.ts';
import { PAYLOAD_TYPE } from './statement.ts';

let key: SigningKey;
let parts: Omit<ReceiptFile, 'format'>;
let bytes: Uint8Array;
beforeAll(async () => {
  key = await signingKeyOf('s3t/test', await generateKey());
  parts = await receiptParts(key);
  bytes = utf8(formatReceipt(parts));
});

const failure = async (file: Uint8Array, trusted?: string): Promise<string> => {
  const { valid, checks, statement } = await verifyReceipt(file, trusted);
  expect([valid, statement]).toEqual([false, null]);
  expect(checks.map(({ ok }) => ok).lastIndexOf(false)).toBe(checks.length - 1);
  const { check, detail } = checks.at(-1)!;
  expect(detail).not.toContain('\n');
  return `${check}: ${detail}`;
};

describe('a receipt', () => {
  test('is valid, and tells what was checked', async () => {
    const { valid, checks, statement } = await verifyReceipt(bytes, key.publicKey.text);
    expect(valid).toBe(true);
    expect(checks.map(({ check }) => check)).toEqual([
      ...['file', 'public key', 'signature', 'statement', 'checkpoint', 'log entry', 'inclusion'],
    ]);
    expect(checks.every(({ ok }) => ok)).toBe(true);
    expect(statement!.predicate).toMatchObject({ erasure: 'e1', records: { count: 2 } });
    const alone = await verifyReceipt(bytes);
    expect(alone.valid).toBe(true);
    expect(alone.checks[1]!.detail).toContain('compare it');
  });

  test('of another key is refused', async () => {
    const other = await signingKeyOf('s3t/test', await generateKey());
    expect(await failure(bytes, other.publicKey.text)).toMatch(/^public key: the receipt is of s3t\/test\+/);
    expect(await failure(bytes, 'no key')).toMatch(/^public key: is no public key/);
  });

  test('with any single bit changed is refused', async () => {
    const flip = (bit: number): Uint8Array => {
      const changed = bytes.slice();
      changed[Math.floor(bit / 8)]! ^= 1 << (bit % 8);
      return changed;
    };
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: 8 * bytes.length - 1 }), fc.boolean(), async (bit, isGiven) => {
        await failure(flip(bit), isGiven ? key.publicKey.text : undefined);
      }),
      { numRuns: 1500 },
    );
  });

  test('cut short, or with something added, is refused', async () => {
    for (let end = 0; end < bytes.length; end += 97) await failure(bytes.slice(0, end));
    await failure(bytes.slice(0, -1));
    const text = new TextDecoder().decode(bytes);
    for (const changed of [
      `${text}\n`,
      ` ${text}`,
      `\ufeff${text}`,
      JSON.stringify(JSON.parse(text), null, 1),
    ])
      expect(await failure(utf8(changed))).toMatch(/^file: is not/);
    expect(await failure(utf8(formatReceipt({ ...parts, more: 1 } as typeof parts)))).toBe(
      'file: more: there is no such field',
    );
  });

  test('of which a field is missing or of another kind is refused by its name', async () => {
    expect(await failure(utf8('{}'))).toBe('file: format: is missing');
    expect(await failure(utf8('[]'))).toBe('file: format: is missing');
    expect(await failure(utf8('7'))).toBe('file: all of it: must be Object, not 7');
    const { inclusion } = parts;
    const changed = { ...parts, inclusion: { ...inclusion, size: '9' } } as unknown as typeof parts;
    expect(await failure(utf8(formatReceipt(changed)))).toBe('file: inclusion.size: must be number, not "9"');
  });
});

describe('the receipt of an erasure that was repaired', () => {
  const repaired = {
    at: Date.parse('2026-01-02T05:00:00.000Z'),
    served: { version: 9, manifest: sha256Hex('whole') },
  };

  test('says when, and what was served then', async () => {
    const { valid, statement } = await verifyReceipt(utf8(formatReceipt(await receiptParts(key, repaired))));
    expect(valid).toBe(true);
    expect(statement!.predicate).toMatchObject({
      times: { acknowledged: '2026-01-02T03:04:05.040Z', repaired: '2026-01-02T05:00:00.000Z' },
      repaired: { version: 9, manifest: { sha256: sha256Hex('whole') } },
    });
  });

  test('is refused where the log tells another story', async () => {
    const own = await receiptParts(key, repaired);
    const refused = (entry: object) =>
      failure(utf8(formatReceipt({ ...own, entry: { ...own.entry, ...entry } } as typeof own)));
    const payload = own.entry.payload as object;
    expect(await refused({ at: repaired.at + 1 })).toBe('log entry: names another repair than the statement');
    expect(
      await refused({ payload: { ...payload, served: { version: 8, manifest: sha256Hex('whole') } } }),
    ).toBe('log entry: names another repair than the statement');
    expect(await refused({ payload: { ...payload, erasure: 'e2' } })).toBe(
      'log entry: repairs another erasure, e2',
    );
    const { envelope } = await receiptParts(key);
    expect(await failure(utf8(formatReceipt({ ...own, envelope })))).toBe(
      'log entry: names the digest of another statement',
    );
  });
});

describe('parts that are sound, but not of one another', () => {
  const refused = async (change: Partial<typeof parts>): Promise<string> =>
    failure(utf8(formatReceipt({ ...parts, ...change })), key.publicKey.text);

  test('a statement that the log does not name', async () => {
    const body = new TextDecoder().decode(fromBase64(parts.envelope.payload));
    const seal = async (text: string) => ({
      envelope: await sealEnvelope(PAYLOAD_TYPE, utf8(text), key),
    });
    expect(await refused(await seal(body.replace('"count":2', '"count":3')))).toMatch(
      /^statement: commits to/,
    );
    expect(await refused(await seal(body.replace('"position":0', '"position":1')))).toBe(
      'log entry: names the digest of another statement',
    );
    expect(await refused(await seal(body.replace('"erasure":"e1"', '"erasure":"e2"')))).toMatch(
      /^log entry: acknowledges another erasure/,
    );
    expect(await refused(await seal(body.replace('s3t/test', 's3t/other')))).toMatch(
      /^statement: is about the log/,
    );
    expect(await refused(await seal('{}'))).toMatch(/^statement: _type/);
    expect(await refused(await seal('no'))).toMatch(/^statement: /);
  });

  test('a log that does not hold the entry', async () => {
    const { entry, inclusion } = parts;
    const other = { ...entry, previous: sha256Hex('another past') };
    expect(await refused({ entry: other })).toMatch(/^inclusion: the entry is not in the log/);
    expect(await refused({ entry: { ...entry, at: entry.at + 1 } })).toMatch(/^log entry: names other times/);
    expect(await refused({ entry: { ...entry, kind: 'publish' } })).toMatch(/^log entry: is of kind publish/);
    expect(await refused({ inclusion: { ...inclusion, index: 0 } })).toMatch(/^inclusion: is of leaf 0/);
    expect(await refused({ inclusion: { ...inclusion, size: 9 } })).toMatch(/^inclusion: is in a log of 9/);
    const root = leafHash(entryBytes(other));
    const checkpoint = await signCheckpoint({ origin: 's3t/test', size: inclusion.size, root }, key);
    expect(await refused({ checkpoint })).toMatch(/^inclusion: /);
    const elsewhere = await signingKeyOf('s3t/test', await generateKey());
    const theirs = await signCheckpoint({ origin: 's3t/test', size: inclusion.size, root }, elsewhere);
    expect(await refused({ checkpoint: theirs })).toMatch(/^checkpoint: is signed with another key/);
  });
});
