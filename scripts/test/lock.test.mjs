import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { withLock } from '../lib/lock.mjs';

const folder = mkdtempSync(join(tmpdir(), 's3t-lock-'));
after(() => rmSync(folder, { recursive: true, force: true }));

test('processes take turns', async () => {
  const counter = join(folder, 'counter');
  writeFileSync(counter, '0');
  // Reads, waits, writes: without a lock most increments would be lost.
  const script = `
    import { readFileSync, writeFileSync } from 'node:fs';
    import { setTimeout } from 'node:timers/promises';
    import { withLock } from ${JSON.stringify(new URL('../lib/lock.mjs', import.meta.url).href)};
    for (let i = 0; i < 3; i++) await withLock(${JSON.stringify(join(folder, 'turns'))}, async () => {
      const value = Number(readFileSync(${JSON.stringify(counter)}, 'utf8'));
      await setTimeout(10);
      writeFileSync(${JSON.stringify(counter)}, String(value + 1));
    });`;
  const children = Array.from({ length: 4 }, () =>
    spawn(process.execPath, ['--input-type=module', '-e', script]),
  );
  await Promise.all(children.map((child) => new Promise((resolve) => child.once('close', resolve))));
  assert.equal(readFileSync(counter, 'utf8'), '12');
  assert.ok(!existsSync(join(folder, 'turns')));
});

test('the lock of a dead process is taken over, and released after an error', async () => {
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  const lock = join(folder, 'dead');
  mkdirSync(lock);
  writeFileSync(join(lock, 'owner.json'), JSON.stringify({ pid, host: hostname(), token: 'x' }));
  await assert.rejects(
    withLock(lock, async () => {
      throw new Error('work failed');
    }),
    /work failed/,
  );
  assert.ok(!existsSync(lock));
});
