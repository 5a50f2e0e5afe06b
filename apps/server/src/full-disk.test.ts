// A real run on a real file system that is full, served over real sockets.
import { execFileSync } from 'node:child_process';
import { cp, mkdir, readFile, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Unlearner } from '@s3t/unlearner';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { connect } from './client.ts';
import { serve } from './node.ts';
import { stripes, type TinyRun, tinyRun } from './testing/tiny-run.ts';

let files: TinyRun;

beforeAll(async () => {
  files = await tinyRun();
  await using unlearner = await Unlearner.open({ run: files.run, config: files.config });
  await unlearner.train();
}, 600_000);
afterAll(() => files?.remove());

/** A file system of so many bytes; null where this process may not make one. */
function smallDisk(folder: string, bytes: number): { unmount(): void } | null {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', folder], { stdio: 'ignore' });
  } catch {
    return null;
  }
  return { unmount: () => execFileSync('umount', ['-l', folder]) };
}

it('acknowledges nothing on a full disk, and the same request once there is room, once', async ({ skip }) => {
  const folder = join(files.folder, 'small');
  await mkdir(folder);
  const disk = smallDisk(folder, 200 * 2 ** 20);
  if (disk === null) return skip('mounting takes root');
  const errors: unknown[] = [];
  try {
    const run = join(folder, 'run');
    await cp(files.run, run, { recursive: true });
    // On a disk of their own: where they lie beside the ledger, erasing makes the room that it needs.
    const adapters = join(files.folder, 'adapters');
    await cp(join(run, 'adapters'), adapters, { recursive: true });
    await rm(join(run, 'adapters'), { recursive: true });
    await symlink(adapters, join(run, 'adapters'));
    const onError = (error: unknown) => errors.push(error);
    const server = await serve({ run, port: 0, signals: false, onError });
    const client = connect(server.url);
    const before = await client.status();
    const filler = join(folder, 'filler');
    execFileSync('sh', ['-c', `dd if=/dev/zero of=${filler} bs=4096 2>/dev/null || true`]);

    const erase = async () => client.erase(['train/3'], { idempotencyKey: 'ticket' });
    for (let time = 0; time < 2; time++) {
      const refused = await erase().catch((error) => error);
      expect(refused).toMatchObject({ status: 507, code: 'store', retryAfter: 30 });
      expect(refused.message).toContain('disk is full');
      expect(refused.message).not.toContain(files.folder);
      expect(await client.receipts()).toEqual([]);
    }
    // What an answer keeps back stands in the log.
    expect(String(errors[0])).toMatch(/ENOSPC|No space left on device/);
    // A pause is kept or refused: the database may have room left in the files that it has.
    const pause = await client.pauseRepair().catch((error) => error);
    expect(pause).toMatchObject(pause instanceof Error ? { status: 507, code: 'store' } : { paused: true });
    const image = { width: 28, height: 28, channels: 1 as const, pixels: stripes(0) };
    const { version } = await client.predict([{ image }]);
    expect(version).toBe((await client.status()).version);

    await rm(filler);
    const receipt = await erase();
    expect(receipt).toMatchObject({ records: 1, before: { version: before.version } });
    expect(await erase()).toEqual({ ...receipt, repeated: true });
    const { repeated: _, ...told } = receipt;
    expect(await client.receipts()).toEqual([{ ...told, state: 'completed' }]);
    expect(await client.receiptFile(told.erasure)).toContain(told.erasure);
    const other = await client.erase(['train/4']);
    expect(await client.status()).toMatchObject({ erased: 2, version: other.after.version });
    await client.pauseRepair();
    await server.close();

    const journal = await readFile(join(run, 'erasures.journal'), 'utf8');
    expect(journal.trim().split('\n')).toHaveLength(2);
    await using again = await Unlearner.open({ run });
    expect(await again.receipt(told.erasure)).toEqual(told);
    expect((await again.status()).erased).toBe(2);
  } finally {
    disk.unmount();
  }
}, 120_000);
