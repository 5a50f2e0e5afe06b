/**
 * What set-up found, and the environment a command of this project runs in. Everything here is cheap and
 * starts nothing; the `s3t` launcher uses it to find Node and to run itself again.
 */
import { accessSync, constants, existsSync, mkdirSync } from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readJson } from './files.mjs';
import { graphicsFingerprint } from './platform.mjs';

/**
 * @typedef {object} Setup kept in `.cache/setup.json`
 * @property {string} node path of the Node that runs the project
 * @property {string} nodeVersion e.g. "v24.21.0"
 * @property {Record<string, string>} env what to add to the environment for a WebGPU adapter
 * @property {import('./probe.mjs').Probe | null} probe what the adapter can do; null with S3T_SETUP=skip
 * @property {string} lockDigest SHA-256 of the package-lock.json it was made with
 * @property {object} key what it depends on; see {@link setupKey}
 */

/** The checkout this file belongs to. */
export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/** Package exports of this project name their TypeScript sources under this condition. */
const CONDITION = '--conditions=@s3t/source';

/** Search paths, to which we add instead of replacing them. */
const SEARCH_PATHS = ['LD_LIBRARY_PATH', 'PATH'];

/** @returns {string} where set-up keeps what it found */
export const setupPath = (root) => join(root, '.cache', 'setup.json');

/** @returns {boolean} whether adapters are to be left alone */
export const skipsAdapter = () => process.env.S3T_SETUP === 'skip';

/**
 * Reads what set-up found, without probing.
 *
 * @param {string} [root] the checkout
 * @returns {Setup | undefined} undefined when set-up has to run (again)
 */
export function loadEnvironment(root = ROOT) {
  const setup = readJson(setupPath(root));
  if (!setup?.node || !setup.env || !setup.key) return undefined;
  const files = [
    setup.node,
    setup.env.VK_DRIVER_FILES,
    ...(setup.env.LD_LIBRARY_PATH?.split(delimiter) ?? []),
  ];
  if (!files.every((path) => path === undefined || existsSync(path))) return undefined;
  const key = setupKey(root, ambientEnvironment(setup.env));
  return JSON.stringify(key) === JSON.stringify(setup.key) ? setup : undefined;
}

/**
 * What decides which adapter there is. When any of it changes, set-up probes again.
 *
 * @param {string} root the checkout
 * @param {NodeJS.ProcessEnv} ambient the environment without anything of ours
 */
export function setupKey(root, ambient) {
  const { VK_DRIVER_FILES = '', VK_ICD_FILENAMES = '', VK_ADD_DRIVER_FILES = '' } = ambient;
  return {
    root,
    platform: `${process.platform} ${process.arch}`,
    skip: skipsAdapter(),
    webgpu: readJson(join(root, 'node_modules', 'webgpu', 'package.json'))?.version ?? '',
    graphics: graphicsFingerprint(),
    drivers: [VK_DRIVER_FILES, VK_ICD_FILENAMES, VK_ADD_DRIVER_FILES],
  };
}

/**
 * This process's environment as it would be outside ours: a command that we started may call set-up again.
 *
 * @param {Record<string, string>} [added] what we added, if we did
 * @returns {NodeJS.ProcessEnv}
 */
export function ambientEnvironment(added = {}) {
  const ambient = { ...process.env };
  for (const [name, value] of Object.entries(added)) {
    if (SEARCH_PATHS.includes(name)) {
      const ours = value.split(delimiter);
      const rest = (ambient[name] ?? '').split(delimiter).filter((path) => path && !ours.includes(path));
      if (rest.length) ambient[name] = rest.join(delimiter);
      else delete ambient[name];
    } else if (ambient[name] === value) {
      delete ambient[name];
    }
  }
  return ambient;
}

/**
 * The whole environment for a command of this project: its Node and its tools first on the PATH, the
 * adapter's variables, and package exports resolved to our sources.
 *
 * @param {Setup} setup
 * @param {string} [root] the checkout
 * @param {NodeJS.ProcessEnv} [ambient]
 * @returns {NodeJS.ProcessEnv}
 */
export function commandEnvironment(setup, root = ROOT, ambient = process.env) {
  const PATH = [join(root, 'node_modules', '.bin'), dirname(setup.node)].join(delimiter);
  const options = ambient.NODE_OPTIONS ?? '';
  return {
    ...ambient,
    ...prependPath(ambient, { ...setup.env, PATH }),
    ...(process.platform === 'linux' && { XDG_RUNTIME_DIR: runtimeFolder(root, ambient) }),
    // Our TypeScript without its types, and compiled code, for the next process: they start in two thirds of the time.
    NODE_COMPILE_CACHE: ambient.NODE_COMPILE_CACHE ?? join(root, '.cache', 'compiled'),
    NODE_OPTIONS: options.includes(CONDITION) ? options : `${options} ${CONDITION}`.trim(),
  };
}

/**
 * @param {NodeJS.ProcessEnv} ambient
 * @param {Record<string, string>} added
 * @returns {Record<string, string>} `added`, its search paths followed by those of `ambient`
 */
export function prependPath(ambient, added) {
  const merged = Object.entries(added).map(([name, value]) => {
    if (!SEARCH_PATHS.includes(name)) return [name, value];
    const old = pathOf(ambient, name).split(delimiter).filter(Boolean);
    return [name, [...new Set([...value.split(delimiter), ...old])].join(delimiter)];
  });
  return Object.fromEntries(merged);
}

/** Windows may call it `Path`. */
function pathOf(env, name) {
  const key =
    Object.keys(env).find((key) => key === name) ??
    Object.keys(env).find((key) => key.toUpperCase() === name);
  return (key && env[key]) ?? '';
}

/** Mesa complains without one. It must be ours alone. */
function runtimeFolder(root, ambient) {
  if (isWritable(ambient.XDG_RUNTIME_DIR)) return ambient.XDG_RUNTIME_DIR;
  const folder = join(root, '.cache', 'runtime');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return folder;
}

function isWritable(path) {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
