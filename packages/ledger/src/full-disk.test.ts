import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openLedger } from './index.ts';
import { emptyRunFolder, execute } from './testing/pglite.ts';

/** A file system of so many bytes at `folder`, with what lies there now; null where this process may not make one. */
function smallDisk(folder: string, bytes: number): { unmount(): void } | null {
  const aside = `${folder}.aside`;
  execFileSync('mv', [folder, aside]);
  execFileSync('mkdir', [folder]);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', folder], { stdio: 'ignore' });
  } catch {
    return null;
  }
  execFileSync('cp', ['-a', `${aside}/.`, folder]);
  return { unmount: () => execFileSync('umount', ['-l', folder]) };
}

function codesOf(error: unknown): unknown[] {
  return error instanceof Error ? [(error as { code?: unknown }).code, ...codesOf(error.cause)] : [];
}

test('a disk too full for the log of the database stops nothing for good', async ({
  skip,
  onTestFinished,
}) => {
  const folder = await emptyRunFolder();
  onTestFinished(async () => {
    for (const each of [folder, `${folder}.aside`]) await rm(each, { recursive: true, force: true });
  });
  const disk = smallDisk(folder, 200 * 2 ** 20);
  if (disk === null) return skip('mounting takes root');
  try {
    const ledger = await openLedger({ store: 'file:', folder });
    let kept = 0;
    const keep = async (): Promise<void> => {
      // A note takes little room in its table and much in the log.
      await execute(ledger, `select pg_logical_emit_message(false, 'test', repeat('a', 1000000))`);
      await ledger.note('kept', kept + 1);
      kept++;
    };
    await keep();
    const filler = join(folder, 'filler');
    execFileSync('sh', ['-c', `dd if=/dev/zero of=${filler} bs=4096 2>/dev/null || true`]);
    // A table that cannot grow is an error like others: it says what it is, and the database goes on.
    const large = await ledger.note('lost', randomBytes(50_000).toString('hex')).catch((error) => error);
    expect(codesOf(large)).toEqual(expect.arrayContaining(['database', '53100']));
    const full = { code: 'database', message: expect.stringContaining('no space left on device') };
    const until = async (work: () => Promise<void>): Promise<void> => {
      for (let tries = 0; tries < 100; tries++) await work();
    };
    // A file of the log is 16 MB.
    await expect(until(keep)).rejects.toMatchObject({ cause: expect.anything() });
    // It is not asked for ever: what waited behind it fails, and so does what comes later.
    await expect(Promise.all([ledger.note('lost', 1), ledger.notes('')])).rejects.toMatchObject(full);
    await expect(ledger.note('lost', 2)).rejects.toMatchObject(full);
    await rm(filler);
    expect(await ledger.notes('')).toEqual(new Map([['kept', kept]]));
    await until(async () => {
      if (kept < 30) await keep();
    });
    await ledger.close();
    const again = await openLedger({ store: 'file:', folder });
    expect(await again.notes('')).toEqual(new Map([['kept', 30]]));
    await again.close();
  } finally {
    disk.unmount();
  }
});
