// A run's signing key: a file beside the database, in PKCS #8 as PEM (`openssl pkey -in` reads it), for its owner's eyes only.
import { link, mkdir, open, readFile, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LedgerError, StoreWriteError } from './errors.ts';
import { fromBase64, toBase64 } from './log/bytes.ts';
import { generateKey, type SigningKey, signingKeyOf } from './log/keys.ts';
import { syncFolder } from './sync-folder.ts';

/**
 * Reads the key in `file`, for the log called `name`.
 * @param create makes the file where there is none. It appears whole or not at all, and of two at once one wins
 * @throws LedgerError `signing-key` that names the file
 */
export async function readSigningKey(file: string, name: string, create: boolean): Promise<SigningKey> {
  let pem = await contentOf(file);
  if (pem === null && create) {
    await createKey(file);
    pem = await contentOf(file);
  }
  if (pem === null) throw new LedgerError('signing-key', `${file}: there is no such file`);
  try {
    const [, base64] = /^-----BEGIN PRIVATE KEY-----\n([^-]+)-----END PRIVATE KEY-----\s*$/.exec(pem) ?? [];
    return await signingKeyOf(name, fromBase64((base64 ?? '').replaceAll(/\s/g, '')));
  } catch (cause) {
    throw new LedgerError('signing-key', `${file}: is no Ed25519 private key in PEM`, { cause });
  }
}

async function contentOf(file: string): Promise<string | null> {
  try {
    return (await readFile(file, 'utf8')).replaceAll('\r\n', '\n');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    throw new LedgerError('signing-key', `${file}: cannot be read (${code})`, { cause });
  }
}

async function createKey(file: string): Promise<void> {
  const lines = toBase64(await generateKey()).match(/.{1,64}/g)!;
  const pem = ['-----BEGIN PRIVATE KEY-----', ...lines, '-----END PRIVATE KEY-----', ''].join('\n');
  const temporary = `${file}.${crypto.randomUUID()}.tmp`;
  try {
    await mkdir(dirname(file), { recursive: true });
    const handle = await open(temporary, 'wx', 0o600);
    try {
      await handle.writeFile(pem);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await link(temporary, file).catch((error) => {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    });
    // What it signed must not outlive it.
    await syncFolder(dirname(file));
  } catch (error) {
    throw new StoreWriteError(file, error);
  } finally {
    await unlink(temporary).catch(() => {});
  }
}
