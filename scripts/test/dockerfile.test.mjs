// There is no docker where the tests run. What the Dockerfile names is at least there.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));
const read = (path) => readFileSync(root + path, 'utf8');
const lines = read('Dockerfile').replaceAll('\\\n', ' ').split('\n');
const ignored = read('.dockerignore').split('\n');

test('every COPY takes something that is there and is not kept out', () => {
  const sources = lines
    .filter((line) => line.startsWith('COPY '))
    .flatMap((line) => line.split(/\s+/).slice(1, -1))
    .filter((word) => !word.startsWith('--from='))
    .map((path) => path.replace(/^\/s3t\//, ''));
  assert.ok(sources.length > 10);
  for (const path of sources) {
    assert.ok(path === 'node_modules' || existsSync(root + path), path);
    assert.ok(!ignored.includes(path), path);
  }
  // The lock file names every workspace, so `npm ci` wants them all.
  for (const place of JSON.parse(read('package.json')).workspaces) {
    const top = place.split('/')[0];
    assert.ok(sources.includes(top), `${top} is a workspace`);
  }
});

test('it runs what there is, as somebody else than root', () => {
  const of = (word) => lines.findLast((line) => line.startsWith(`${word} `)).slice(word.length + 1);
  assert.equal(of('USER'), 'node');
  const [command, script] = JSON.parse(of('ENTRYPOINT'));
  assert.equal(command, 'node');
  assert.ok(existsSync(script.replace('/s3t/', root)), script);
  const [name, ...options] = JSON.parse(of('CMD'));
  const serve = read(`apps/cli/src/commands/${name}.ts`) + read('apps/cli/src/options.ts');
  for (const option of options.filter((word) => word.startsWith('--')))
    assert.ok(serve.includes(`${option} <`), option);
  const health = lines[lines.findIndex((line) => line.startsWith('HEALTHCHECK'))];
  const [, path] = /127\.0\.0\.1:8787(\/[a-z/]+)/.exec(health);
  assert.ok(read('apps/server/src/routes/health.ts').includes(`'${path}'`), path);
  assert.ok(of('EXPOSE') === '8787' && read('apps/cli/src/commands/serve.ts').includes(', 8787)'));
  const [, filter] = /--filter=(\S+)/.exec(lines.join('\n'));
  assert.equal(JSON.parse(read('apps/cli/package.json')).name, filter);
});

test("Mesa is one that Dawn takes: bookworm's own is too old", () => {
  const base = lines.findLast((line) => line.startsWith('FROM '));
  const install = lines.find((line) => line.includes('mesa-vulkan-drivers'));
  assert.equal(base.includes('bookworm'), install.includes('-t bookworm-backports'));
});

test('the tasks of Deno and Bun name a script that is there', () => {
  for (const line of [
    JSON.parse(read('deno.json')).tasks.serve,
    JSON.parse(read('package.json')).scripts.serve,
  ])
    assert.ok(existsSync(root + /\S+\.ts$/.exec(line)[0]), line);
});
