/**
 * Makes a fresh checkout ready: dependencies, a Node that runs TypeScript, a WebGPU adapter. Needs Node 20
 * and npm, nothing else; does each thing once, and nothing when all is done.
 *
 *     node scripts/setup.mjs [--root FOLDER]
 *
 * S3T_SETUP=skip uses the adapters of the environment as they are.
 */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { findAdapter, sayAdapter } from './lib/adapter.mjs';
import { collect } from './lib/child.mjs';
import { dependenciesCurrent, installDependencies } from './lib/dependencies.mjs';
import {
  ambientEnvironment,
  loadEnvironment,
  ROOT,
  setupKey,
  setupPath,
  skipsAdapter,
} from './lib/environment.mjs';
import { fileDigest, readJson, writeWhole } from './lib/files.mjs';
import { withLock } from './lib/lock.mjs';
import { findNode } from './lib/node.mjs';
import { reportFailure, SetupError, say } from './lib/report.mjs';

/**
 * @param {string} [root] the checkout
 * @returns {Promise<import('./lib/environment.mjs').Setup>}
 * @throws {SetupError} with what to do about it
 */
export async function setUp(root = ROOT) {
  const ready = current(root);
  if (ready) return ready;
  const lock = resolve(root, '.cache', 'setup.lock');
  const wait = ({ pid }) => say(`another set-up is running (process ${pid}); waiting for it ...`);
  // Whoever waited finds the work done.
  return withLock(lock, async () => current(root) ?? (await prepare(root)), wait);
}

/** What is there, if nothing is missing. The Node may change from call to call: it depends on who runs us. */
function current(root) {
  if (!dependenciesCurrent(root)) return undefined;
  const setup = loadEnvironment(root);
  return setup && { ...setup, ...chooseNode(root, setup) };
}

function chooseNode(root, setup) {
  const node = findNode(root);
  return node === process.execPath
    ? { node, nodeVersion: process.version }
    : { node, nodeVersion: setup.nodeVersion };
}

async function prepare(root) {
  if (!dependenciesCurrent(root)) await installDependencies(root);
  const node = findNode(root);
  const nodeVersion = await versionOf(node);
  const ambient = ambientEnvironment(readJson(setupPath(root))?.env);
  const { env, probe } = skipsAdapter() ? { env: {}, probe: null } : await findAdapter(root, node, ambient);
  const lockDigest = fileDigest(resolve(root, 'package-lock.json'));
  const setup = { node, nodeVersion, env, probe, lockDigest, key: setupKey(root, ambient) };
  writeWhole(setupPath(root), `${JSON.stringify(setup, null, 2)}\n`);
  if (probe) sayAdapter(probe);
  say(`ready: Node ${nodeVersion.slice(1)}`);
  return setup;
}

/** Also finds out whether it runs at all: the packaged Node needs glibc. */
async function versionOf(node) {
  const { ok, stdout, stderr } = await collect(node, ['--version']);
  if (ok) return stdout.trim();
  throw new SetupError(`${node} does not run here: ${stderr.trim()}`, [
    'Install Node 24 or newer and run again.',
  ]);
}

if (process.argv[1] && import.meta.url === pathToFileURL(resolve(process.argv[1])).href) {
  const at = process.argv.indexOf('--root');
  await setUp(at < 0 ? ROOT : resolve(process.argv[at + 1])).catch(reportFailure);
}
