import fs from 'node:fs';
import { rm } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { openLedger, readLock } from './index.ts';
import { emptyRunFolder } from './testing/pglite.ts';
import { digest, manifestOf, temporaryFolder, testRecords, testRun } from './testing/run.ts';

const folders: string[] = [];
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});
async function folderOf(empty = false): Promise<string> {
  const folder = empty ? await emptyRunFolder() : await temporaryFolder();
  folders.push(folder);
  return folder;
}

describe('openLedger', () => {
  test('holds the folder, and the data where they lie elsewhere', async () => {
    const [folder, other] = [await folderOf(), await folderOf()];
    {
      await using ledger = await openLedger({ store: 'file:../data', folder: join(folder, 'run') });
      await ledger.lock?.publish({ url: 'http://127.0.0.1:1', server: null });
      await expect(openLedger({ store: 'file:', folder: join(folder, 'run') })).rejects.toMatchObject({
        ...{ code: 'held', url: 'http://127.0.0.1:1' },
      });
      const store = `file:${join(folder, 'data')}`;
      await expect(openLedger({ store, folder: other })).rejects.toMatchObject({
        code: 'held',
        folder: join(folder, 'data'),
      });
      expect(await readLock(other)).toBeNull();
    }
    expect(await readLock(join(folder, 'run'))).toBeNull();
    await (await openLedger({ store: `file:${join(folder, 'data')}`, folder: other })).close();
  });

  test('refuses what it cannot do', async () => {
    const folder = await folderOf();
    await expect(openLedger({ store: 'mysql://x', folder })).rejects.toMatchObject({ code: 'invalid' });
    await expect(openLedger({ store: 'file:', folder, exclusive: false })).rejects.toMatchObject({
      code: 'invalid',
    });
    expect(await readLock(folder)).toBeNull();
  });

  test('says nothing of a URL that is none: it may hold a password', async () => {
    const folder = await folderOf();
    for (const [store, code, message] of [
      ['postgres://user:pa/ss@host/db', 'open', 'store is no URL'],
      ['postgresql://user:secret@host:99999/db', 'open', 'store is no URL'],
      ['postgres://user:secret%E4@host/db', 'open', 'write % in a password as %25'],
      ['postgre://user:secret@host/db', 'invalid', 'store is neither'],
    ] as const) {
      const error = await openLedger({ store, folder }).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ name: 'LedgerError', code, message: expect.stringContaining(message) });
      expect(inspect(error, { depth: null })).not.toMatch(/pa\/ss|secret/);
    }
    expect(await readLock(folder)).toBeNull();
  });

  test('an erasure is on the disk, not only in its cache, when it is confirmed', async () => {
    await using ledger = await openLedger({
      store: 'file:',
      folder: await folderOf(true),
      manifest: manifestOf,
    });
    await ledger.createRun(testRun());
    const sync = vi.spyOn(fs, 'fsyncSync');
    syncBuiltinESMExports();
    const keys = [testRecords(1)[0]?.key as string];
    await ledger.erase({ keys, requestDigest: digest('x'), receivedAt: 1 });
    expect(sync).toHaveBeenCalled();
    sync.mockRestore();
    syncBuiltinESMExports();
  });
});
