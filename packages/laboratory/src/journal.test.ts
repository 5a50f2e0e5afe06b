import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Journal } from './journal.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3t-journal-'));
});
afterAll(() => rm(folder, { recursive: true }));

test('what is added behind a line that was cut off is a line of its own', async () => {
  const file = join(folder, 'cut.jsonl');
  await writeFile(file, '{"n":1}\n{"n":');
  // Whoever adds need not have read.
  await new Journal<{ n: number }>(file).add({ n: 3 });
  expect(await readFile(file, 'utf8')).toBe('{"n":1}\n{"n":3}\n');
  expect(await new Journal(file).read()).toEqual([{ n: 1 }, { n: 3 }]);
});

test('a journal that is not there is empty, and one with a spoilt line names it', async () => {
  expect(await new Journal(join(folder, 'none.jsonl')).read()).toEqual([]);
  const file = join(folder, 'spoilt.jsonl');
  await writeFile(file, '{"n":1}\nx\n');
  await expect(new Journal(file).read()).rejects.toThrow(`${file}: line 2 is not valid JSON`);
});
