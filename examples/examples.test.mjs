// The README shows these files as they are, and they do what it says.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

const read = (path) => readFileSync(new URL(path, import.meta.url), 'utf8');

test("the README's code is that of the examples", () => {
  const blocks = [...read('../README.md').matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code);
  assert.deepEqual(blocks, [read('unlearner.ts'), read('engine.ts')]);
});

test('the engine example prints a loss that falls', () => {
  const script = new URL('engine.ts', import.meta.url);
  const printed = execFileSync(process.execPath, ['--conditions=@s3t/source', script.pathname], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const losses = [...printed.matchAll(/loss (\d\.\d{4})/g)].map(([, loss]) => Number(loss));
  assert.equal(losses.length, 6, printed);
  for (const [i, loss] of losses.entries()) assert.ok(i === 0 || loss < losses[i - 1], printed);
});
