import { mkdtemp, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const MEMORY = '/dev/shm';
const WANTED_BYTES = 4 * 2 ** 30;

/** A fresh folder, in memory where there is room: databases sync every write, and tests make many of them. */
export async function temporaryFolder(): Promise<string> {
  const space = await statfs(MEMORY).catch(() => null);
  const hasRoom = space !== null && space.bavail * space.bsize > WANTED_BYTES;
  return mkdtemp(join(hasRoom ? MEMORY : tmpdir(), 's3t-unlearner-'));
}
