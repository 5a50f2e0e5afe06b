import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * @param {string} path
 * @returns {any} the parsed file; undefined when it is missing or half written
 */
export function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

/**
 * Writes a file so that a reader, or a process killed half-way, only ever sees the old or the new one.
 *
 * @param {string} path
 * @param {string} text
 * @param {{mode?: number}} [options]
 */
export function writeWhole(path, text, { mode = 0o644 } = {}) {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, text, { mode });
  renameSync(temporary, path);
}

/**
 * @param {string} path
 * @returns {string | undefined} SHA-256 of the file, in hex; undefined when there is none
 */
export function fileDigest(path) {
  try {
    return createHash('sha256').update(readFileSync(path)).digest('hex');
  } catch {
    return undefined;
  }
}

/**
 * @param {string} folder
 * @returns {string[]} the names in it, sorted; none when it cannot be read
 */
export function listFolder(folder) {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}
