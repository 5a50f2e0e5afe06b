// Packs kernels and engine as they would be published and unpacks them into an empty folder, without a network.
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/**
 * @param {{ dawn: boolean }} options whether the folder gets the `webgpu` package too
 * @returns {{ folder: string, files: string[], remove: () => void }} a folder with node_modules/@s3t/{kernels,engine}
 */
export function unpackEngine({ dawn }) {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 's3t-packed-')));
  const scope = join(folder, 'node_modules', '@s3t');
  mkdirSync(scope, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }\n');
  const files = [];
  for (const [name, place] of [
    ['kernels', join(root, 'kernels')],
    ['engine', join(root, 'packages/engine')],
  ]) {
    // The scripts of the packages are not part of packing, and the environment of this run must not reach npm's child.
    const packed = JSON.parse(
      run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], place),
    );
    // An array of results up to npm 11, an object by package name after it.
    const [{ filename, files: listed }] = Object.values(packed);
    run('tar', ['-xzf', join(folder, filename.split('/').at(-1)), '-C', folder], folder);
    renameSync(join(folder, 'package'), join(scope, name));
    files.push(...listed.map(({ path }) => `${name}/${path}`));
  }
  if (dawn) symlinkSync(join(root, 'node_modules/webgpu'), join(folder, 'node_modules/webgpu'));
  cpSync(join(root, 'packages/engine/test/tiny-net.mjs'), join(folder, 'tiny-net.mjs'));
  return { folder, files, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** The Deno that npm installed for this platform; null where there is none. */
export function findDeno() {
  const scope = join(root, 'node_modules/@deno');
  try {
    const [platform] = readdirSync(scope);
    const binary = readdirSync(join(scope, platform)).find((name) => /^deno(\.exe)?$/.test(name));
    return binary ? join(scope, platform, binary) : null;
  } catch {
    return null;
  }
}

/** @returns {string} what the command printed */
export function run(command, args, cwd, env = plainEnvironment()) {
  return execFileSync(command, args, { cwd, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** The environment without what makes our own sources importable: a user has none of it. */
export function plainEnvironment() {
  const { NODE_OPTIONS: _, ...env } = process.env;
  return env;
}

export const node = process.execPath;
