// The digest of a base's files. Hashing a large one takes about as long as putting it on a device: a thread of its own does it.

import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { ModelError } from '../errors.ts';
import { fileSource } from './byte-source.ts';

/** Files that are smaller together are hashed before a thread would have begun. */
const WORTH_A_THREAD = 2 ** 26;

/** What the thread says when it is done. */
export type DigestOutcome = { digest: string } | { refused: string };

/** As `digestFiles`, while this thread does something else where that is worth it. */
export async function digestBeside(folder: string, names: readonly string[]): Promise<string> {
  const sizes = await Promise.all(
    names.map((name) =>
      stat(join(folder, name)).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  );
  if (sizes.reduce((sum, size) => sum + size, 0) < WORTH_A_THREAD) return digestFiles(folder, names);
  const outcome = await digestInThread(folder, names);
  if (outcome === null) return digestFiles(folder, names);
  if ('refused' in outcome) throw new ModelError(outcome.refused);
  return outcome.digest;
}

/** @returns null where there is no such thread: somebody put all modules into one */
export function digestInThread(folder: string, names: readonly string[]): Promise<DigestOutcome | null> {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return new Promise((resolve) => {
    const worker = new Worker(new URL(`./digest-worker.${extension}`, import.meta.url), {
      workerData: { folder, names },
      execArgv: [],
    });
    worker.once('message', resolve);
    worker.once('error', () => resolve(null));
    worker.once('exit', () => resolve(null));
  });
}

/** Bytes that are hashed at once. */
const PIECE = 2 ** 20;

/** SHA-256 over the SHA-256 digests of files of a folder, read in pieces. @throws ModelError naming the file */
export async function digestFiles(folder: string, names: readonly string[]): Promise<string> {
  const digest = createHash('sha256');
  for (const name of names) digest.update(await digestFile(join(folder, name)));
  return digest.digest('hex');
}

/** SHA-256 of a file: one piece is read while the other is hashed. @throws ModelError naming it */
export async function digestFile(path: string): Promise<Buffer> {
  const source = await fileSource(path);
  try {
    const digest = createHash('sha256');
    const size = Math.min(PIECE, source.size);
    const memory = [new Uint8Array(size), new Uint8Array(size)] as const;
    const read = async (number: number) => {
      const from = number * PIECE;
      const piece = memory[number % 2]!.subarray(0, Math.max(0, Math.min(PIECE, source.size - from)));
      await source.read(from, piece);
      return piece;
    };
    const pieces = Math.ceil(source.size / PIECE);
    let next = read(0);
    for (let number = 1; number <= pieces; number++) {
      const piece = await next;
      next = read(number);
      digest.update(piece);
    }
    await next;
    return digest.digest();
  } finally {
    await source.close();
  }
}
