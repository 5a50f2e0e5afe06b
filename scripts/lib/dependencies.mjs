import { basename, join } from 'node:path';
import { runStep } from './child.mjs';
import { fileDigest, readJson, writeWhole } from './files.mjs';
import { Interrupted, SetupError, say } from './report.mjs';

/** Inside node_modules, so that it goes when they go. */
const stampPath = (root) => join(root, 'node_modules', '.s3t-setup.json');

/**
 * Whether node_modules holds what package-lock.json asks for. Costs one digest when the stamp is there; an
 * install somebody made by hand is compared entry by entry, and stamped if it fits.
 *
 * @param {string} root the checkout
 * @returns {boolean}
 */
export function dependenciesCurrent(root) {
  const lock = fileDigest(join(root, 'package-lock.json'));
  if (readJson(stampPath(root))?.lock === lock) return true;
  if (!matchesLock(root)) return false;
  writeStamp(root, lock);
  return true;
}

/**
 * Installs the locked dependencies (`npm ci`). Its output goes to stderr.
 *
 * @param {string} root the checkout
 * @throws {SetupError} when npm fails
 */
export async function installDependencies(root) {
  const lock = fileDigest(join(root, 'package-lock.json'));
  if (!lock) throw new SetupError(`no package-lock.json in ${root}`);
  say('installing the dependencies (npm ci) ...');
  // Development and optional packages by name: NODE_ENV=production or a user's npm configuration may leave
  // them out. Errors alone: some packages want a newer Node than the one that starts us, and get it, for the project runs on its own.
  const args = ['ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund', '--loglevel=error'];
  const { code, signal } = await npm(root, args).catch(notStarted);
  if (code !== 0) {
    throw new SetupError(`npm ci ended with ${signal ?? code}`, [
      'What npm printed above says why. When that is mended, run the same command again, or by hand:',
      '  npm ci',
    ]);
  }
  writeStamp(root, lock);
}

function npm(root, args) {
  const options = { cwd: root, stdio: ['ignore', 2, 2] };
  // Inside `npm run`, the npm that runs us; else the one on the PATH (a .cmd on Windows, hence the shell).
  const running = process.env.npm_execpath;
  if (running && basename(running) === 'npm-cli.js')
    return runStep(process.execPath, [running, ...args], options);
  return runStep('npm', args, { ...options, shell: process.platform === 'win32' });
}

/** A missing npm is a failure like any other; being told to end is not. */
function notStarted(error) {
  if (error instanceof Interrupted) throw error;
  return { code: error.message, signal: null };
}

function writeStamp(root, lock) {
  writeWhole(stampPath(root), `${JSON.stringify({ lock })}\n`);
}

/** Compares the record npm keeps of what it installed with the lock file. */
function matchesLock(root) {
  const wanted = readJson(join(root, 'package-lock.json'))?.packages;
  const installed = readJson(join(root, 'node_modules', '.package-lock.json'))?.packages;
  if (!wanted || !installed) return false;
  const same = (path) => {
    const [a, b] = [wanted[path], installed[path]];
    // Addresses may be left out of a lock file; only links to workspaces have nothing else.
    return (
      a &&
      b &&
      a.version === b.version &&
      a.integrity === b.integrity &&
      (!a.link || a.resolved === b.resolved)
    );
  };
  const required = Object.keys(wanted).filter((path) => {
    const { optional, devOptional, peer } = wanted[path];
    return path.includes('node_modules/') && !optional && !devOptional && !peer;
  });
  return (
    required.every(same) &&
    Object.keys(installed).every((path) => !path.includes('node_modules/') || same(path))
  );
}
