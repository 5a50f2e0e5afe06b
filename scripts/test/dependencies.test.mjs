import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

const folder = mkdtempSync(join(tmpdir(), 's3t-dependencies-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const write = (path, value) => writeFileSync(join(folder, path), JSON.stringify(value));

/** Installs what a project with one dependency, a folder beside it, asks for. */
function install(dependencies) {
  const own = { name: 'project', version: '1.0.0' };
  const packages = {
    '': { ...own, dependencies: { modern: 'file:modern' } },
    'node_modules/modern': { resolved: 'modern', link: true },
    modern: { version: '1.0.0', engines: { node: '>=99' } },
  };
  for (const name of ['modern', 'other']) mkdirSync(join(folder, name), { recursive: true });
  write('other/package.json', { name: 'other', version: '1.0.0' });
  write('modern/package.json', { name: 'modern', ...packages.modern });
  write('package.json', { ...own, dependencies });
  write('package-lock.json', { ...own, lockfileVersion: 3, requires: true, packages });
  const script = `
    import { installDependencies } from ${JSON.stringify(new URL('../lib/dependencies.mjs', import.meta.url).href)};
    await installDependencies(${JSON.stringify(folder)}).catch(({ message }) => console.log(message));`;
  return spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    env: { ...process.env, npm_config_offline: 'true' },
  });
}

test('packages that want a newer Node than the one that starts set-up are installed without a word', () => {
  const { stderr } = install({ modern: 'file:modern' });
  assert.ok(existsSync(join(folder, 'node_modules/modern/package.json')), stderr);
  assert.doesNotMatch(stderr, /npm warn/i);
});

test('what npm cannot do is still told in its words', () => {
  // Of a folder, so that npm asks no registry for it.
  const { stdout, stderr } = install({ modern: 'file:modern', other: 'file:other' });
  assert.match(stdout, /^npm ci ended with 1/);
  assert.match(stderr, /npm error Missing: other@.* from lock file/);
});
