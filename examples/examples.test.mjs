// READMEs show these files as they are, and they do what is said of them.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

const read = (path) => readFileSync(new URL(path, import.meta.url), 'utf8');

test('the code in the READMEs is that of the examples', () => {
  const blocksOf = (file) => [...read(file).matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code);
  assert.deepEqual(blocksOf('../README.md'), [read('unlearner.ts')]);
  assert.deepEqual(blocksOf('../packages/engine/README.md'), [read('engine.ts')]);
});

/** What an example prints. */
function run(name, ...args) {
  const script = new URL(name, import.meta.url);
  return execFileSync(process.execPath, ['--conditions=@s3t/source', script.pathname, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

const lossesOf = (printed) => [...printed.matchAll(/loss (\d\.\d+)/g)].map(([, loss]) => Number(loss));

test('the engine example prints a loss that falls', () => {
  const printed = run('engine.ts');
  const losses = lossesOf(printed);
  assert.equal(losses.length, 6, printed);
  for (const [i, loss] of losses.entries()) assert.ok(i === 0 || loss < losses[i - 1], printed);
});

test('the language model learns letters, and writes some', () => {
  const printed = run('language-model.ts', '20');
  const [before, after] = lossesOf(printed);
  assert.ok(before > 4.5 && after < 3.5, printed);
  assert.equal(printed.slice(printed.indexOf('An erasure ')).length, 128 + 1, printed);
});
