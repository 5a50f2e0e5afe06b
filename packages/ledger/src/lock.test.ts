import fs, { readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { acquireLock, LedgerHeldError, readLock } from './index.ts';
import { isGone, thisProcess } from './process-identity.ts';
import { type Child, finished, firstLine, startChild } from './testing/child.ts';
import { temporaryFolder } from './testing/run.ts';

let folder: string;
beforeEach(async () => {
  folder = await temporaryFolder();
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Leaves the lock of a process that was killed. */
async function leaveDeadLock(): Promise<void> {
  const child = startChild('lock-child.ts', [folder]);
  const end = finished(child);
  await firstLine(child);
  child.kill('SIGKILL');
  await end;
  expect(await readLock(folder)).toMatchObject({ pid: child.pid, alive: false });
}

describe('a lock', () => {
  test('is held once, says by whom, and can be taken again', async () => {
    expect(await readLock(folder)).toBeNull();
    const lock = await acquireLock(folder);
    await expect(acquireLock(folder)).rejects.toThrow(LedgerHeldError);
    // A server that lives: one that has ended is waited for.
    const server = process.ppid;
    await lock.publish({ url: 'http://127.0.0.1:8787', server });
    await expect(acquireLock(folder)).rejects.toMatchObject({
      ...{ code: 'held', folder, pid: server, host: hostname(), url: 'http://127.0.0.1:8787' },
      message: `the run in ${folder} is held by process ${server} on ${hostname()}, which listens at http://127.0.0.1:8787`,
    });
    expect(await readLock(folder)).toMatchObject({
      pid: process.pid,
      url: 'http://127.0.0.1:8787',
      alive: true,
    });
    await lock.release();
    await lock.release();
    expect(await readdir(folder)).toEqual([]);
    await (await acquireLock(folder)).release();
  });

  test('released twice does not take away its next holder', async () => {
    const first = await acquireLock(folder);
    await first.release();
    const second = await acquireLock(folder);
    await first.release();
    expect(await readLock(folder)).toMatchObject({ token: second.record.token });
    await expect(first.publish({ url: 'http://late', server: 1 })).rejects.toMatchObject({
      code: 'lock-lost',
    });
  });

  test('of a process whose server was killed is waited for', async () => {
    const child = startChild('lock-child.ts', [await temporaryFolder()]);
    const end = finished(child);
    await firstLine(child);
    child.kill('SIGKILL');
    await end;
    const first = await acquireLock(folder);
    await first.publish({ url: 'http://127.0.0.1:8787', server: child.pid! });
    let isTaken = false;
    const second = acquireLock(folder).then((lock) => {
      isTaken = true;
      return lock;
    });
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(isTaken).toBe(false);
    await first.release();
    await (await second).release();
  });

  test('of a killed process is taken over', async () => {
    await leaveDeadLock();
    await (await acquireLock(folder)).release();
    expect(await readdir(folder)).toEqual([]);
  });

  test('is taken without what killed processes left beside it, and with what others just write', async () => {
    await leaveDeadLock();
    const dead = await readFile(join(folder, 'lock'), 'utf8');
    const beside = (index: number) => `lock${'.break'.repeat(index)}.${crypto.randomUUID()}`;
    const left = [beside(0), beside(1), beside(2)];
    const [begun, forgotten, other] = [beside(0), beside(0), 'lock.mine'];
    for (const name of [...left, other]) await writeFile(join(folder, name), dead);
    for (const name of [begun, forgotten]) await writeFile(join(folder, name), '{"pid":');
    const yesterday = Date.now() / 1000 - 86_400;
    await utimes(join(folder, forgotten), yesterday, yesterday);
    const lock = await acquireLock(folder);
    const living = beside(0);
    await writeFile(join(folder, living), JSON.stringify(lock.record));
    await lock.release();
    await (await acquireLock(folder)).release();
    expect((await readdir(folder)).sort()).toEqual([begun, living, other].sort());
  });

  test('is given back by whoever took it in a folder that cannot be listed', async () => {
    const listing = vi.spyOn(fs, 'readdir').mockRejectedValueOnce(new Error('EIO: i/o error, scandir'));
    syncBuiltinESMExports();
    const lock = await acquireLock(folder);
    expect(listing).toHaveBeenCalledOnce();
    listing.mockRestore();
    syncBuiltinESMExports();
    await lock.release();
    expect(await readLock(folder)).toBeNull();
  });

  test('of a process whose pid was given to another is taken over', async () => {
    const lock = await acquireLock(folder);
    const record = { ...lock.record, started: '1' };
    expect(isGone(record)).toBe(thisProcess().started !== null);
    expect(isGone({ ...lock.record, boot: 'another boot' })).toBe(thisProcess().boot !== null);
    await writeFile(join(folder, 'lock'), JSON.stringify(record));
    const taken = await acquireLock(folder);
    expect(taken.record.token).not.toBe(record.token);
  });

  test('of another machine is not taken over', async () => {
    const lock = await acquireLock(folder);
    await writeFile(join(folder, 'lock'), JSON.stringify({ ...lock.record, host: 'elsewhere', pid: 1 }));
    await expect(acquireLock(folder)).rejects.toThrow(
      /held by process 1 on elsewhere; if that machine is gone, remove .*lock$/,
    );
  });

  test('that is no lock of ours is left alone', async () => {
    await writeFile(join(folder, 'lock'), 'hello');
    await expect(acquireLock(folder)).rejects.toMatchObject({ code: 'lock-unreadable' });
    expect(await readFile(join(folder, 'lock'), 'utf8')).toBe('hello');
    expect(await readdir(folder)).toEqual(['lock']);
  });

  test('goes to exactly one of several processes, also when a dead one has it', {
    timeout: 60_000,
  }, async () => {
    for (const dead of [false, true]) {
      if (dead) await leaveDeadLock();
      const startAt = String(Date.now() + 1200);
      const racers: Child[] = Array.from({ length: 5 }, () => startChild('lock-child.ts', [folder, startAt]));
      const ends = racers.map(finished);
      const words = (await Promise.all(racers.map(firstLine))).map((line) => JSON.parse(line));
      const winners = words.flatMap(({ held }) => held ?? []);
      expect(winners).toHaveLength(1);
      expect(words.filter(({ refused }) => refused !== undefined)).toHaveLength(4);
      expect(await readLock(folder)).toMatchObject({ pid: winners[0], alive: true });
      for (const racer of racers) racer.kill('SIGKILL');
      for (const end of ends) expect((await end).errors).toBe('');
      await rm(join(folder, 'lock'));
      expect(await readdir(folder)).toEqual([]);
    }
  });

  test('in this process too: of many who find it dead, one gets it', async () => {
    for (let round = 0; round < 20; round++) {
      const { record } = await acquireLock(folder);
      await writeFile(join(folder, 'lock'), JSON.stringify({ ...record, boot: 'before the power cut' }));
      const taken = await Promise.allSettled(Array.from({ length: 8 }, () => acquireLock(folder)));
      const got = taken.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
      expect(got).toHaveLength(1);
      await got[0]?.release();
      expect(await readdir(folder)).toEqual([]);
    }
  });
});
