// One file per adapter, named by the SHA-256 of its bytes. A name therefore never changes its content, writing one twice is harmless,
// and a cache keyed by it can never be stale. Files appear whole or not at all, and survive a power cut once `put` has returned.
import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { AdapterCorruptError, AdapterMissingError, LedgerError, StoreWriteError } from './errors.ts';
import { syncFolder } from './sync-folder.ts';

const FILE = /^([0-9a-f]{64})\.safetensors$/;
const TEMPORARY = /^\.[0-9a-f]{64}\.[0-9a-f-]{36}\.tmp$/;

export class AdapterStore {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  /** Where the adapter with this digest lies, whether or not it is there. */
  path(digest: string): string {
    if (!/^[0-9a-f]{64}$/.test(digest)) {
      throw new LedgerError('invalid', `${JSON.stringify(digest)} is not an adapter digest`);
    }
    return join(this.folder, `${digest}.safetensors`);
  }

  /** Stores the bytes and returns their SHA-256. A file already there is checked, and replaced when its bytes are wrong. */
  async put(bytes: Uint8Array): Promise<string> {
    const digest = sha256(bytes);
    const file = this.path(digest);
    const existing = await readFile(file).catch(() => null);
    if (existing !== null && sha256(existing) === digest) return digest;
    const temporary = join(this.folder, `.${digest}.${crypto.randomUUID()}.tmp`);
    try {
      await mkdir(this.folder, { recursive: true });
      const handle = await open(temporary, 'wx');
      try {
        await handle.writeFile(bytes);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(temporary, file);
      await syncFolder(this.folder);
    } catch (error) {
      await unlink(temporary).catch(() => {});
      throw new StoreWriteError(file, error);
    }
    return digest;
  }

  /** The bytes of an adapter, checked against its digest. Throws AdapterMissingError, AdapterCorruptError. */
  async get(digest: string): Promise<Uint8Array> {
    const file = this.path(digest);
    let bytes: Uint8Array;
    try {
      bytes = await readFile(file);
    } catch (error) {
      if (!isMissing(error)) throw error;
      throw new AdapterMissingError(file);
    }
    const found = sha256(bytes);
    if (found !== digest) throw new AdapterCorruptError(file, found);
    return bytes;
  }

  async has(digest: string): Promise<boolean> {
    return stat(this.path(digest)).then(
      () => true,
      (error) => {
        if (isMissing(error)) return false;
        throw error;
      },
    );
  }

  /** Removes an adapter for good; false when there was none. */
  async destroy(digest: string): Promise<boolean> {
    return (await this.destroyAll([digest])) === 1;
  }

  /** Removes adapters for good; returns how many there were. One sync for all of them: erasures wait for this. */
  async destroyAll(digests: Iterable<string>): Promise<number> {
    const files = Array.from(digests, (digest) => this.path(digest));
    const wereThere = await Promise.all(files.map(removeFile));
    const removed = wereThere.filter(Boolean).length;
    if (removed > 0)
      await syncFolder(this.folder).catch((error) => {
        throw new StoreWriteError(this.folder, error);
      });
    return removed;
  }

  /** Digests of all adapters, sorted. */
  async list(): Promise<string[]> {
    return (await this.#names()).flatMap((name) => FILE.exec(name)?.[1] ?? []).sort();
  }

  /**
   * Removes what a crash may have left: half-written files, and adapters not in `keep`. Returns the digests it removed. Only for
   * when nobody is writing, on opening or between publications: an adapter put but not yet published is one that nobody references.
   */
  async sweep(keep: ReadonlySet<string>): Promise<string[]> {
    const names = await this.#names();
    const removed = names.flatMap((name) => FILE.exec(name)?.[1] ?? []).filter((digest) => !keep.has(digest));
    await this.destroyAll(removed);
    for (const name of names) {
      if (TEMPORARY.test(name)) await unlink(join(this.folder, name)).catch(() => {});
    }
    return removed.sort();
  }

  async #names(): Promise<string[]> {
    return readdir(this.folder).catch((error) => {
      if (isMissing(error)) return [];
      throw error;
    });
  }
}

async function removeFile(file: string): Promise<boolean> {
  try {
    await unlink(file);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw new StoreWriteError(file, error);
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}
