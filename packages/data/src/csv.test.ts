import { describe, expect, test } from 'vitest';
import { loadRecords } from './load.ts';
import type { DataOptions } from './record.ts';
import { dataError, put, tempFolder } from './testing/temp.ts';

const folder = tempFolder();
const options: DataOptions = { id: 'id', label: 'label', text: ['text'] };
const load = (name: string, content: string | Uint8Array, use: DataOptions = options) => {
  put(folder, name, content);
  return loadRecords(name, 'eval', use, folder);
};

describe('CSV and TSV', () => {
  test('CSV: quotes, line breaks in values, CRLF, byte order mark, any column order', async () => {
    const records = await load('a.csv', '\ufefftext,id,label\r\n"one, ""two""\nthree",1,é\r\n\r\n,2,0\r\n');
    expect(records.map(({ id, label, text }) => [id, label, text?.text])).toEqual([
      ['1', 'é', 'one, "two"\nthree'],
      ['2', '0', ''],
    ]);
  });

  test.each(['a.csv', 'a.tsv'])('%s: lines that end in different ways', async (name) => {
    const [delimiter, quote] = name.endsWith('.csv') ? [',', '"'] : ['\t', ''];
    const line = (...values: string[]): string => values.join(delimiter);
    for (const ends of ['\n\r\n\n', '\r\n\n\r\n', '\n\n\r\n', '\r\r\r'].map(
      (all) => all.match(/\r?\n|\r/g)!,
    )) {
      const lines = [line('text', 'label', 'id'), line('a', 'x', '1'), line('b', 'y', `${quote}2${quote}`)];
      const records = await load(name, lines.map((one, i) => `${one}${ends[i]}`).join(''));
      expect(records.map(({ id, label, text }) => [id, label, text?.text])).toEqual([
        ['1', 'x', 'a'],
        ['2', 'y', 'b'],
      ]);
    }
  });

  test('TSV: a quote is a character', async () => {
    const records = await load('a.tsv', 'id\tlabel\ttext\n1\tx\t"Tis said\n2\ty\tso" he\n');
    expect(records.map(({ text }) => text?.text)).toEqual(['"Tis said', 'so" he']);
  });

  test('the same content has the same digest in every table format', async () => {
    const [csv] = await load('b.csv', 'id,label,text\n1,0,hello');
    const [tsv] = await load('b.tsv', 'text\tlabel\tid\nhello\t0\tp');
    const [jsonl] = await load('b.jsonl', '{"id":"q","label":0,"text":"hello"}');
    expect(tsv?.digest).toBe(csv?.digest);
    expect(jsonl?.digest).toBe(csv?.digest);
  });

  test('ids are row numbers where there are none', async () => {
    const records = await load('c.csv', 'text\na\nb\n', { text: ['text'] });
    expect(records.map(({ id }) => id)).toEqual(['eval/0', 'eval/1']);
  });

  test.each([
    ['no records', 'id,label,text\n', {}, /no records/],
    ['no header', '5,l,somebody\n6,l,else\n', { field: 'id' }, /no column has this name/],
    ['a column twice', 'id,label,text,text\n1,l,a,b', { field: 'text' }, /two columns/],
    ['too many values', 'id,label,text\n1,l,a\n2,l,b,c\n', { row: 1, line: 3 }, /has 4 values, .* 3 columns/],
    ['an open quote', 'id,label,text\n1,l,a\n2,l,"somebody\n3,l,b\n', { row: 1 }, /quote is never closed/],
    ['text after a quote', 'id,label,text\n1,l,"a"somebody\n', { row: 0, line: 2 }, /closing quote/],
    ['a quote inside', 'id,label,text\n1,l,somebody"x\n', { line: 2 }, /quote inside/],
    [
      'lines as editors count them',
      'id,"la\r\nbel",label,text\r\n1,,l,"a\r\nb"\r\n2,,,c\r\n',
      { field: 'label', row: 1, line: 5 },
      /is empty/,
    ],
    ['an empty label', 'id,label,text\n1,,a\n', { field: 'label', row: 0, line: 2 }, /is empty/],
    ['duplicate ids', 'id,label,text\n1,l,a\n1,l,b\n', { field: 'id', row: 1, line: 3 }, /line 2 \(row 0\)/],
    ['not UTF-8', Buffer.from('id,label,text\n1,l,\xe9\n', 'latin1'), { line: 2 }, /UTF-8/],
  ])('error: %s', async (_, content, place, message) => {
    const error = await dataError(load('bad.csv', content));
    expect(error).toMatchObject(place);
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain('somebody');
  });
});
