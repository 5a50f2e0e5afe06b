import { ModelError } from '../errors.ts';

/** Bytes of which any range can be read: a file, a blob, an array. */
export interface ByteSource {
  /** What errors name. */
  name: string;
  size: number;
  /** Fills `target` with the bytes from `from` on. @throws ModelError when they cannot be read or are not there */
  read(from: number, target: Uint8Array<ArrayBuffer>): Promise<void>;
  close(): Promise<void>;
}

/** Bytes that lie in memory already. */
export function memorySource(bytes: Uint8Array, name: string): ByteSource {
  return {
    name,
    size: bytes.length,
    async read(from, target) {
      if (from + target.length > bytes.length) throw past(name, from + target.length, bytes.length);
      target.set(bytes.subarray(from, from + target.length));
    },
    async close() {},
  };
}

/** A Blob, or a File that a user of a browser chose. */
export function blobSource(blob: Blob, name: string): ByteSource {
  return {
    name,
    size: blob.size,
    async read(from, target) {
      if (from + target.length > blob.size) throw past(name, from + target.length, blob.size);
      target.set(new Uint8Array(await blob.slice(from, from + target.length).arrayBuffer()));
    },
    async close() {},
  };
}

/** A file of Node, Deno or Bun. @throws ModelError when there is none or it cannot be opened */
export async function fileSource(path: string): Promise<ByteSource> {
  // Only here: the rest of this folder also runs in browsers.
  const { open } = await import('node:fs/promises');
  const handle = await open(path).catch((cause) => {
    throw unreadable(path, cause);
  });
  const { size } = await handle.stat();
  return {
    name: path,
    size,
    async read(from, target) {
      let done = 0;
      while (done < target.length) {
        const { bytesRead } = await handle
          .read(target, done, target.length - done, from + done)
          .catch((cause) => {
            throw unreadable(path, cause);
          });
        // Somebody shortened the file under us.
        if (bytesRead === 0) throw past(path, from + target.length, from + done);
        done += bytesRead;
      }
    },
    close: () => handle.close(),
  };
}

/** Why a file of a model cannot be had. */
export function unreadable(path: string, cause: unknown): ModelError {
  const { code } = cause as { code?: string };
  const problem = code === 'ENOENT' ? 'there is no such file' : `cannot be read (${code})`;
  return new ModelError(`${path}: ${problem}`, { cause });
}

function past(name: string, end: number, size: number): ModelError {
  return new ModelError(`${name}: byte ${end - 1} is wanted, the file has ${size}`);
}
