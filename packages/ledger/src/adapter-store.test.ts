import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AdapterStore } from './index.ts';
import { finished, startChild } from './testing/child.ts';
import { temporaryFolder } from './testing/run.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

describe('the adapter store', () => {
  let folder: string;
  let store: AdapterStore;
  beforeEach(async () => {
    folder = await temporaryFolder();
    store = new AdapterStore(join(folder, 'adapters'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  test('keeps bytes under their digest', async () => {
    expect(await store.list()).toEqual([]);
    const digest = await store.put(bytes('one'));
    expect(digest).toBe(sha256(bytes('one')));
    expect(Buffer.from(await store.get(digest)).toString()).toBe('one');
    expect([await store.has(digest), await store.has(sha256(bytes('two')))]).toEqual([true, false]);
    expect(await readdir(store.folder)).toEqual([`${digest}.safetensors`]);
    await expect(store.get(sha256(bytes('two')))).rejects.toMatchObject({ code: 'adapter-missing' });
    expect([await store.destroy(digest), await store.destroy(digest)]).toEqual([true, false]);
    expect(await store.list()).toEqual([]);
  });

  test('does not write the same bytes twice, also at once', async () => {
    const [digest] = await Promise.all(Array.from({ length: 5 }, () => store.put(bytes('one'))));
    await utimes(store.path(digest as string), 1, 1);
    await store.put(bytes('one'));
    expect((await stat(store.path(digest as string))).mtimeMs).toBe(1000);
    expect(await store.list()).toEqual([digest]);
  });

  test('names the file whose bytes are not what they were, and put mends it', async () => {
    const digest = await store.put(bytes('one'));
    await writeFile(store.path(digest), 'onf');
    await expect(store.get(digest)).rejects.toMatchObject({
      code: 'adapter-corrupt',
      file: store.path(digest),
    });
    await store.put(bytes('one'));
    expect(Buffer.from(await store.get(digest)).toString()).toBe('one');
  });

  test('takes no digest for a path', async () => {
    for (const digest of ['../lock', '', 'A'.repeat(64)]) {
      expect(() => store.path(digest)).toThrow(/is not an adapter digest/);
      await expect(store.destroy(digest)).rejects.toMatchObject({ code: 'invalid' });
    }
  });

  test('sweeps what a crash left and nothing else', async () => {
    const [kept, orphan] = [await store.put(bytes('kept')), await store.put(bytes('orphan'))];
    await writeFile(join(store.folder, `.${orphan}.${crypto.randomUUID()}.tmp`), 'orp');
    await writeFile(join(store.folder, 'README.txt'), 'mine');
    expect(await store.sweep(new Set([kept]))).toEqual([orphan]);
    expect((await readdir(store.folder)).sort()).toEqual([`${kept}.safetensors`, 'README.txt'].sort());
  });

  test('a write that fails half way leaves nothing', async () => {
    const child = fileURLToPath(new URL('./testing/store-child.ts', import.meta.url));
    // No file of this process may grow beyond 512 KiB: the write stops in the middle, as on a full disk.
    const limited = `ulimit -f 512; exec "$0" --conditions=@s3t/source "$1" "$2" 1000000`;
    const args = ['-c', limited, process.execPath, child, store.folder];
    const { lines, errors } = await finished(spawn('bash', args, { stdio: ['ignore', 'pipe', 'pipe'] }));
    expect(errors).toBe('');
    expect(lines).toMatchObject([
      { code: 'store-write', message: expect.stringMatching(/^cannot write .*\.safetensors: EFBIG/) },
    ]);
    expect(await readdir(store.folder)).toEqual([]);
  });

  test('a folder that cannot be written is a clear error', async () => {
    await writeFile(join(folder, 'file'), '');
    const inside = new AdapterStore(join(folder, 'file', 'adapters'));
    await expect(inside.put(bytes('one'))).rejects.toMatchObject({
      code: 'store-write',
      file: expect.stringContaining('adapters'),
    });
  });

  test('a killed writer leaves whole files only', { timeout: 30_000 }, async () => {
    for (const delay of [120, 180, 240, 300]) {
      const child = startChild('store-child.ts', [store.folder, '200000000']);
      const end = finished(child);
      await new Promise((resolve) => setTimeout(resolve, delay));
      child.kill('SIGKILL');
      await end;
      for (const digest of await store.list()) await store.get(digest);
    }
    await store.sweep(new Set());
    expect(await readdir(store.folder).catch(() => [])).toEqual([]);
  });
});
