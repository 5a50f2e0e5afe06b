import { readFileSync } from 'node:fs';
import type { ReceiptVerification } from '@s3t/ledger/log';
import { UsageError } from './errors.ts';
import { print, printJson } from './terminal/print.ts';
import { paint } from './terminal/style.ts';

/**
 * Checks a receipt's file and tells what was looked at. Reads the file and the key, opens no run and no device. Exit code 1 is for a receipt
 * that is not valid; a file or a key that cannot be read is a usage error.
 *
 * @param key the public key, or a file that holds it
 */
export async function verifyReceiptFile(
  path: string,
  { key, json }: { key?: string; json?: boolean },
): Promise<void> {
  const file = read(path);
  const trusted = key === undefined || isKey(key) ? key : read(key).toString('utf8').trim();
  // Only here: `s3t --help` can do without.
  const { parsePublicKey, verifyReceipt } = await import('@s3t/ledger/log');
  // Without a key that is one nothing can be checked, and the receipt is not to blame.
  if (trusted !== undefined)
    await parsePublicKey(trusted).catch((error: Error) => {
      throw new UsageError(`--public-key: ${key} ${error.message}`);
    });
  const verification = await verifyReceipt(file, trusted);
  if (json) printJson(verification);
  else print(render(path, verification));
  if (!verification.valid) process.exitCode = 1;
}

function isKey(text: string): boolean {
  return /^[^+\s]+\+[0-9a-f]{8}\+\S+$/.test(text);
}

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const problem = code === 'ENOENT' ? 'the file does not exist' : `cannot be read (${code})`;
    throw new UsageError(`${path}: ${problem}`);
  }
}

function render(path: string, { valid, checks, statement }: ReceiptVerification): string {
  const lines = checks.map(({ check, ok, detail }) => {
    const mark = ok ? paint('green', '✓') : paint('red', '✗');
    return check === 'file' && !ok ? `${mark} ${path}: ${detail}` : `${mark} ${check}: ${detail}`;
  });
  const limits = statement === null ? [] : ['', 'What it does not claim:', ...statement.predicate.limits];
  return [...lines, ...limits, '', `${path}: ${valid ? 'valid' : 'NOT valid'}`].join('\n');
}
