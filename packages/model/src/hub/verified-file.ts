import { createHash, type Hash } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import { exists } from '../checkpoint/open-tensors.ts';
import { ModelError } from '../errors.ts';

/** What a hub says a file holds. */
export interface PromisedFile {
  path: string;
  size: number;
  /** SHA-256 of the content in hex, where the file lies in large-file storage. */
  sha256?: string;
  /** Git's name of the content otherwise: SHA-1 over "blob <size>", a zero byte and the content. */
  gitBlob?: string;
}

/**
 * Downloads a file to `target`, going on from `target.part` where an earlier try left one. The file has its name only once
 * its content is what was promised; if it is something else, the part is thrown away. Several downloads of it at once do no harm.
 * @param bytesFrom the content from a byte on
 * @param onBytes told how many bytes of the file are there
 * @throws ModelError when the content is not what was promised; whatever reading throws, the part kept
 */
export async function downloadVerified(
  file: PromisedFile,
  target: string,
  bytesFrom: (start: number) => AsyncIterable<Uint8Array>,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const part = `${target}.part`;
  const found = await stat(part).then(
    ({ size }) => size,
    () => 0,
  );
  let at = found > file.size ? 0 : found;
  const handle = await open(part, constants.O_WRONLY | constants.O_CREAT);
  try {
    if (found > file.size) await handle.truncate(0);
    if (at < file.size)
      for await (const bytes of bytesFrom(at)) {
        // At its place, not at the end: somebody else may be writing the same bytes.
        for (let done = 0; done < bytes.length; )
          done += (await handle.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
        at += bytes.length;
        onBytes(at);
        // A server that answers a range with all of the file never stops otherwise.
        if (at > file.size) break;
      }
    await handle.sync();
  } finally {
    await handle.close();
  }
  if (at < file.size)
    throw new ModelError(`${file.path}: the connection ended after ${at} of ${file.size} bytes`);
  try {
    if (at > file.size || !(await isAsPromised(part, file))) {
      await rm(part, { force: true });
      throw new ModelError(
        `${file.path}: what came is not what the hub promised; it was thrown away, try again`,
      );
    }
    await rename(part, target);
  } catch (error) {
    // Somebody else was done first.
    if (!(await exists(target))) throw error;
  }
}

async function isAsPromised(path: string, { size, sha256, gitBlob }: PromisedFile): Promise<boolean> {
  const digestOf = async (hash: Hash) => {
    for await (const bytes of createReadStream(path)) hash.update(bytes as Buffer);
    return hash.digest('hex');
  };
  if (sha256 !== undefined) return (await digestOf(createHash('sha256'))) === sha256;
  if (gitBlob === undefined) return true;
  return (await digestOf(createHash('sha1').update(`blob ${size}\0`))) === gitBlob;
}
