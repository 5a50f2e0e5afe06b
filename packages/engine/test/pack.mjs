// Packs kernels and engine as they would be published and installs them into an empty folder, without a network.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../../', import.meta.url));

/**
 * @param {{ dawn: boolean }} options with `webgpu`, installed by npm; or without, as for Deno, unpacked only
 * @returns {{ folder: string, files: string[], remove: () => void }} a folder with node_modules/@s3t/{kernels,engine}
 */
export function unpackEngine({ dawn }) {
  build();
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 's3t-packed-')));
  const scope = join(folder, 'node_modules', '@s3t');
  writeFileSync(join(folder, 'package.json'), '{ "type": "module", "private": true }\n');
  const files = [];
  const tarballs = [];
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
    tarballs.push(join(folder, filename.split('/').at(-1)));
    files.push(...listed.map(({ path }) => `${name}/${path}`));
    if (dawn) continue;
    run('tar', ['-xzf', tarballs.at(-1), '-C', folder], folder);
    mkdirSync(scope, { recursive: true });
    renameSync(join(folder, 'package'), join(scope, name));
  }
  if (dawn) {
    // The 63 MB of `webgpu` are linked: npm takes the folder as the version that the engine asks for.
    const packages = [...tarballs, join(root, 'node_modules/webgpu')];
    run('npm', ['install', '--offline', '--ignore-scripts', '--no-audit', '--no-fund', ...packages], folder);
  }
  for (const tarball of tarballs) rmSync(tarball);
  for (const script of ['tiny-net.mjs', 'conformance.mjs'])
    cpSync(join(root, 'packages/engine/test', script), join(folder, script));
  // What the tests of this package share imports the engine by its name: it works outside the package too.
  cpSync(join(root, 'packages/engine/dist/testing'), join(folder, 'testing'), { recursive: true });
  return { folder, files, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** Brings what is packed up to date; within `npm test` it is already. */
function build() {
  run(node, [join(root, 'node_modules/typescript/bin/tsc'), '-b'], join(root, 'packages/engine'));
  run(node, ['scripts/embed.mjs'], join(root, 'kernels'));
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
