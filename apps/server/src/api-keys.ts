// API keys in a file: who holds one is told once, the file holds hashes. A key is 256 random bits, so one SHA-256 is hash enough.
import { statSync } from 'node:fs';
import { mkdir, open, readFile, rename, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as v from 'valibot';
import { type ApiKey, type KeyRing, ROLES, type Role } from './access.ts';

/** A key as the file holds it. */
export interface StoredKey extends ApiKey {
  /** Whatever its maker calls it. */
  name: string;
  /** SHA-256 of the key, hex. */
  hash: string;
  createdAt: string;
}

/** A file of keys that cannot be used. One line that names it. */
export class KeyFileError extends Error {
  override name = 'KeyFileError';
  readonly code = 'keys';
}

const schema = v.object({
  format: v.literal('s3t-api-keys-1'),
  keys: v.array(
    v.strictObject({
      id: v.pipe(v.string(), v.regex(/^[0-9a-f]{8}$/)),
      role: v.picklist(ROLES),
      name: v.string(),
      hash: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
      createdAt: v.string(),
    }),
  ),
});

/** Where the API keys of a run lie unless somebody says otherwise: S3T_API_KEYS, or in the run folder. */
export function keyFileOf(run: string): string {
  return process.env.S3T_API_KEYS ?? join(run, 'api-keys.json');
}

/** How long a command waits for another that is changing the same file. */
const PATIENCE_MS = 5000;

/**
 * The keys in one file. Where there is no such file, no key is needed; where it is there, one is, even when it holds none: then all were
 * revoked. A change of the file counts from the next request on.
 */
export class KeyFile implements KeyRing {
  readonly file: string;
  #stamp = '';
  #keys: readonly StoredKey[] | null = null;
  #hasLooked = false;
  /** Whether the file was there at the first look, or held a key at any. */
  #staysShut = false;

  constructor(file: string) {
    this.file = file;
  }

  /**
   * Once there were keys, taking the file away opens nothing: that may be a slip, and who started the server counted on them. Where it came
   * later and never held one, it is as it was before.
   */
  async isRequired(): Promise<boolean> {
    return (await this.#read()) !== null || this.#staysShut;
  }

  async find(secret: string): Promise<ApiKey | null> {
    const hash = await sha256(secret);
    let found: ApiKey | null = null;
    // All of them, each to its end: how long it takes tells nothing.
    for (const key of (await this.#read()) ?? []) if (sameText(key.hash, hash)) found = key;
    return found;
  }

  /** Oldest first. */
  async list(): Promise<readonly StoredKey[]> {
    return (await this.#read()) ?? [];
  }

  /** Makes a key. What is returned is the only copy of its text. */
  async create(role: Role, name = ''): Promise<{ key: StoredKey; secret: string }> {
    const id = Buffer.from(crypto.getRandomValues(new Uint8Array(4))).toString('hex');
    const secret = `s3t_${id}_${Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('base64url')}`;
    const key = { id, role, name, hash: await sha256(secret), createdAt: new Date().toISOString() };
    await this.#change((keys) => [...keys, key]);
    return { key, secret };
  }

  /** Takes a key back; false when there was none, and then nothing is written. */
  async revoke(id: string): Promise<boolean> {
    const isKnown = (keys: readonly StoredKey[]): boolean => keys.some((key) => key.id === id);
    if (!isKnown(await this.list())) return false;
    let found = false;
    await this.#change((keys) => {
      found = isKnown(keys);
      return found ? keys.filter((key) => key.id !== id) : null;
    });
    return found;
  }

  /** @throws KeyFileError when the file is there and is not ours: nobody gets in then */
  async #read(): Promise<readonly StoredKey[] | null> {
    try {
      // Every request comes by here: the promise of a stat costs a hundred times what the stat does.
      const { ino, size, mtimeMs } = statSync(this.file);
      const stamp = `${ino} ${size} ${mtimeMs}`;
      if (!this.#hasLooked) this.#staysShut = true;
      if (stamp === this.#stamp) return this.#keys;
      const text = await readFile(this.file, 'utf8');
      const { keys } = v.parse(schema, JSON.parse(text));
      [this.#keys, this.#stamp] = [keys, stamp];
      if (keys.length > 0) this.#staysShut = true;
      return keys;
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code === 'ENOENT') return null;
      this.#staysShut = true;
      const problem =
        code === undefined ? 'holds no API keys as this program writes them' : `cannot be read (${code})`;
      throw new KeyFileError(`${this.file}: ${problem}`, { cause });
    } finally {
      this.#hasLooked = true;
    }
  }

  /**
   * One change at a time, and the file appears whole: two at once must not bring back a key that one of them took.
   * @param next null where there is nothing to change
   */
  async #change(next: (keys: readonly StoredKey[]) => readonly StoredKey[] | null): Promise<void> {
    const lock = await this.#lock();
    const temporary = `${this.file}.${crypto.randomUUID()}.tmp`;
    try {
      const keys = next((await this.#read()) ?? []);
      if (keys === null) return;
      const handle = await open(temporary, 'wx', 0o600);
      try {
        await handle.writeFile(`${JSON.stringify({ format: 's3t-api-keys-1', keys }, null, 2)}\n`);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(temporary, this.file);
    } finally {
      await unlink(temporary).catch(() => {});
      await unlink(lock);
    }
  }

  async #lock(): Promise<string> {
    const lock = `${this.file}.lock`;
    const deadline = performance.now() + PATIENCE_MS;
    await mkdir(dirname(this.file), { recursive: true });
    for (;;) {
      try {
        await (await open(lock, 'wx')).close();
        return lock;
      } catch (cause) {
        const { code } = cause as NodeJS.ErrnoException;
        if (code !== 'EEXIST') throw new KeyFileError(`${this.file}: cannot be written (${code})`, { cause });
        if (performance.now() > deadline)
          throw new KeyFileError(
            `${lock}: another command is changing the keys; delete this file if none is`,
          );
        await sleep(20);
      }
    }
  }
}

async function sha256(text: string): Promise<string> {
  return Buffer.from(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))).toString('hex');
}

/** Compares two texts of one length in a time that does not depend on where they differ. */
function sameText(a: string, b: string): boolean {
  let difference = a.length ^ b.length;
  for (let at = 0; at < a.length; at++) difference |= a.charCodeAt(at) ^ b.charCodeAt(at);
  return difference === 0;
}
