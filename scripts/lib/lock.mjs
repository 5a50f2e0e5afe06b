import { mkdirSync, mkdtempSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readJson } from './files.mjs';

const BEAT_MS = 2_000;
const SILENT_MS = 60_000;

/**
 * Runs `work` while no other process does so under the same lock.
 *
 * The lock is a folder that names its owner. It appears by a rename, whole, and its owner touches it every
 * two seconds. A lock whose owner is dead (same machine), or silent for a minute (another one, on a shared
 * disk), is taken over.
 *
 * @template T
 * @param {string} path
 * @param {() => Promise<T>} work
 * @param {(owner: {pid: number, host: string}) => void} [onWait] called once if another process holds it
 * @returns {Promise<T>}
 */
export async function withLock(path, work, onWait) {
  const token = `${hostname()}-${process.pid}-${Date.now()}`;
  for (let waited = false; !take(path, token); ) {
    const owner = ownerOf(path);
    if (isStale(path, owner)) {
      removeOwned(path, owner?.token);
      continue;
    }
    if (!waited && owner) onWait?.(owner);
    waited = true;
    await sleep(100);
  }
  const beat = setInterval(() => touch(path), BEAT_MS);
  try {
    return await work();
  } finally {
    clearInterval(beat);
    removeOwned(path, token);
  }
}

function take(path, token) {
  mkdirSync(dirname(path), { recursive: true });
  const mine = mkdtempSync(`${path}-`);
  writeFileSync(join(mine, 'owner.json'), JSON.stringify({ pid: process.pid, host: hostname(), token }));
  try {
    renameSync(mine, path);
    return true;
  } catch (error) {
    rmSync(mine, { recursive: true, force: true });
    if (['EEXIST', 'ENOTEMPTY', 'EPERM'].includes(error.code)) return false;
    throw error;
  }
}

function ownerOf(path) {
  return readJson(join(path, 'owner.json'));
}

function isStale(path, owner) {
  try {
    if (owner?.host === hostname() && !isAlive(owner.pid)) return true;
    return Date.now() - statSync(path).mtimeMs > SILENT_MS;
  } catch {
    return false; // just released
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** Takes the lock away in one step, and gives it back if another process had taken it over in between. */
function removeOwned(path, token) {
  const away = `${path}-gone-${process.pid}-${Date.now()}`;
  try {
    renameSync(path, away);
  } catch {
    return;
  }
  if (ownerOf(away)?.token !== token) {
    try {
      renameSync(away, path);
      return;
    } catch {
      // a third process holds it by now
    }
  }
  rmSync(away, { recursive: true, force: true });
}

function touch(path) {
  const now = new Date();
  try {
    utimesSync(path, now, now);
  } catch {
    // taken over after a long sleep of this machine: nothing to keep alive
  }
}
