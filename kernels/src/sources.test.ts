import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { sources } from './index.ts';

test('a kernel is named by its path', () => {
  const text = readFileSync(new URL('../norm/softmax.wgsl', import.meta.url), 'utf8');
  expect(sources['norm/softmax']).toBe(text);
});

test('every kernel opens by saying what it does', () => {
  for (const [name, text] of Object.entries(sources)) expect(text.startsWith('// '), name).toBe(true);
});

test('what is published holds the same texts', () => {
  const script = `import { sources } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)}; console.log(JSON.stringify(sources));`;
  const printed = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  expect(JSON.parse(printed)).toEqual(sources);
});
