import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));
const read = (path) => readFileSync(join(root, path), 'utf8');
const documents = globSync(['*.md', 'docs/*.md', 'bench/*.md'], { cwd: root });

test('every environment variable that is read stands in a document', () => {
  const sources = globSync(['{packages,apps}/*/{src,bin}/**/*.{ts,mjs}', 'scripts/**/*.mjs'], { cwd: root });
  const names = sources
    .filter((path) => !/\.test\.|testing/.test(path))
    .flatMap((path) => [...read(path).matchAll(/env\.(S3T_\w+)/g)].map(([, name]) => name));
  assert.ok(names.includes('S3T_DEBUG'));
  const told = documents.map(read).join();
  for (const name of new Set(names)) assert.ok(told.includes(name), name);
});

test('links between documents lead to files, and commands of npm to scripts', () => {
  const { scripts } = JSON.parse(read('package.json'));
  for (const path of documents) {
    const text = read(path);
    for (const [, target] of text.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g))
      assert.ok(existsSync(join(root, dirname(path), target)), `${path}: ${target}`);
    for (const [, name, rest] of text.matchAll(/npm run ([\w:-]+)(.*)/g))
      assert.ok(name in scripts || / -w /.test(rest), `${path}: npm run ${name}`);
  }
});
