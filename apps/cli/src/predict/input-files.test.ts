import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { greyPng } from '../testing/png.ts';
import { readInputs } from './input-files.ts';
import type { Wanted } from './wanted.ts';

const folder = mkdtempSync(join(tmpdir(), 's3t-inputs-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The inputs in a file of this content, for a run that reads texts of any fields unless told otherwise. */
function inputsIn(
  name: string,
  content: string,
  wanted: Wanted = { reads: 'text', fields: [] },
): ReturnType<typeof readInputs> {
  const file = join(folder, name);
  writeFileSync(file, content);
  return readInputs([file], wanted);
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
    /bad\.jsonl, line 2: no field that is a text$/,
  );
});

test('images are named where the data of the run names them', async () => {
  const photo: Wanted = { reads: 'image', fields: ['photo'] };
  const pixels = new Uint8Array(9).fill(5);
  writeFileSync(join(folder, 'a.png'), greyPng(3, 3, pixels));
  const expected = [{ id: 'x', input: { image: { width: 3, height: 3, channels: 1, pixels } } }];
  const row = (field: string) => JSON.stringify({ id: 'x', text: 'no image', [field]: 'a.png' });
  expect(await inputsIn('photo.jsonl', row('photo'), photo)).toEqual(expected);
  expect(await inputsIn('path.jsonl', row('path'), photo)).toEqual(expected);
  expect(await inputsIn('file.jsonl', row('file'), { ...photo, image: 'file' })).toEqual(expected);
  expect(await inputsIn('photo.csv', 'id,photo\nx,a.png\n', photo)).toEqual(expected);
});

test('what a run does not read is told by file, line and field', async () => {
  const photo: Wanted = { reads: 'image', fields: ['photo'] };
  const pair: Wanted = { reads: 'text', fields: ['premise', 'hypothesis'] };
  const cases: [string, string, Wanted, string][] = [
    ['eval.jsonl', '{"photo":"a.png"}\n{"id":1}', photo, ', line 2: no field photo that names an image file'],
    ['eval.jsonl', '{"path":"a.png"}', { ...photo, image: 'file' }, ', line 1: no field file that'],
    ['eval.jsonl', '{"text":{"a":"b"}}', photo, ', line 1: holds texts, but this run reads images'],
    ['eval.csv', 'id,label\n1,cat', photo, ', line 1: no field photo'],
    ['eval.txt', 'a text', photo, ': holds texts, but this run reads images'],
    ['eval.png', 'not opened', pair, ': holds images, but this run reads texts'],
    ['eval.jsonl', '{"premise":"a"}', pair, ', line 1: no field hypothesis that is a text'],
    ['eval.csv', 'id,premise\n1,a', pair, ', line 1: no field hypothesis'],
  ];
  writeFileSync(join(folder, 'a.png'), greyPng(1, 1, new Uint8Array(1)));
  for (const [name, content, wanted, problem] of cases)
    await expect(inputsIn(name, content, wanted)).rejects.toThrow(`${join(folder, name)}${problem}`);
});
