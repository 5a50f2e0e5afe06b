import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readInputs } from './input-files.ts';

const folder = mkdtempSync(join(tmpdir(), 's3t-inputs-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The inputs in a file of this content. */
function inputsIn(name: string, content: string): ReturnType<typeof readInputs> {
  const file = join(folder, name);
  writeFileSync(file, content);
  return readInputs([file]);
}

test('texts come from rows by their fields, or as a row of the server has them', async () => {
  const rows = [
    { id: 7, premise: 'a', hypothesis: '', label: 2 },
    { text: { premise: 'b', hypothesis: 'c' } },
    { text: ['b', 'c'] },
    { text: 'alone' },
  ];
  const found = await inputsIn('rows.jsonl', rows.map((row) => JSON.stringify(row)).join('\n'));
  const place = join(folder, 'rows.jsonl');
  expect(found).toEqual([
    { id: '7', input: { text: { premise: 'a', hypothesis: '' } } },
    { id: `${place}:2`, input: { text: { premise: 'b', hypothesis: 'c' } } },
    { id: `${place}:3`, input: { text: ['b', 'c'] } },
    { id: `${place}:4`, input: { text: { text: 'alone' } } },
  ]);
});

test('texts come from the columns of a table where none names an image', async () => {
  const found = await inputsIn('table.csv', 'id,premise,hypothesis\nx,"a, b",c\n');
  expect(found).toEqual([{ id: 'x', input: { text: { premise: 'a, b', hypothesis: 'c' } } }]);
  expect(await inputsIn('table.tsv', 'premise\na b\n')).toEqual([
    { id: 'eval/0', input: { text: { premise: 'a b' } } },
  ]);
});

test('the lines of a text file are texts, but for blank ones', async () => {
  const place = join(folder, 'lines.txt');
  expect(await inputsIn('lines.txt', 'One.\r\n\n {not JSON}\n')).toEqual([
    { id: `${place}:1`, input: { text: 'One.' } },
    { id: `${place}:3`, input: { text: ' {not JSON}' } },
  ]);
});

test('a row of nothing to read names its line', async () => {
  await expect(inputsIn('bad.jsonl', '{"premise":"a"}\n{"id":"x","label":3}\n')).rejects.toThrow(
    /bad\.jsonl: line 2: image or path: is missing/,
  );
});
