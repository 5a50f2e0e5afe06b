import { createHash } from 'node:crypto';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { loadRecords } from './load.ts';
import type { DataOptions } from './record.ts';
import { dataError, put, tempFolder } from './testing/temp.ts';

const folder = tempFolder();
const options: DataOptions = { id: 'id', label: 'label', text: ['a', 'b'] };
let files = 0;
const load = (content: string | Uint8Array, use: DataOptions = options) => {
  const name = `${files++}.jsonl`;
  put(folder, name, content);
  return loadRecords(name, 'train', use, folder);
};
const row = (fields: object): string =>
  JSON.stringify({ id: 'x', label: 'l', a: 'one', b: 'two', ...fields });

describe('JSON Lines', () => {
  test('reads ids, labels and text; numbers become strings', async () => {
    const records = await load(
      `\ufeff${row({})}\r\n\n${row({ id: 7, label: 1, extra: [1] })}\n${row({ id: 'é' })}`,
    );
    expect(records.map(({ id, label, text }) => ({ id, label, text }))).toEqual([
      { id: 'x', label: 'l', text: { a: 'one', b: 'two' } },
      { id: '7', label: '1', text: { a: 'one', b: 'two' } },
      { id: 'é', label: 'l', text: { a: 'one', b: 'two' } },
    ]);
    expect(records[0]?.image).toBeUndefined();
  });

  test('without id and label fields: rows counted from 0, no label', async () => {
    const records = await load(`${row({})}\n\n${row({})}`, { text: ['a'] });
    expect(records.map(({ id, label }) => [id, label])).toEqual([
      ['train/0', null],
      ['train/1', null],
    ]);
  });

  test('the digest is the documented one, and covers label and text but neither id nor field order', async () => {
    const [first, otherId, otherLabel, otherText] = await load(
      [row({}), row({ id: 'y' }), row({ id: 'z', label: 'm' }), row({ id: 'w', b: 'too' })].join('\n'),
    );
    const canonical = '["s3t-record-1","l",[["a","one"],["b","two"]],null]\n';
    expect(first?.digest).toBe(createHash('sha256').update(canonical).digest('hex'));
    expect(otherId?.digest).toBe(first?.digest);
    expect(otherLabel?.digest).not.toBe(first?.digest);
    expect(otherText?.digest).not.toBe(first?.digest);
    const [swapped] = await load(row({}), { ...options, text: ['b', 'a'] });
    expect(swapped?.digest).toBe(first?.digest);
  });

  test('how likely a record is to be erased is read, and part of its digest where it says so', async () => {
    const use = { ...options, risk: 'risk' };
    const records = await load(['high', '', null].map((risk, at) => row({ id: at, risk })).join('\n'), use);
    expect(records.map(({ risk }) => risk)).toEqual(['high', undefined, undefined]);
    const canonical = '["s3t-record-1","l",[["a","one"],["b","two"]],null,"high"]\n';
    const [plain] = await load(row({}));
    expect(records.map(({ digest }) => digest)).toEqual([
      createHash('sha256').update(canonical).digest('hex'),
      plain?.digest,
      plain?.digest,
    ]);
    await expect(load(row({}), use)).rejects.toThrow(/risk.*is missing/);
    await expect(loadRecords('.', 'train', use, folder)).rejects.toThrow(/partition\.by names a field/);
  });

  test('whom a record is about is read, and is no part of its digest', async () => {
    const use = { ...options, subject: 'who' };
    const values = ['anna', 7, '', null];
    const records = await load(values.map((who, at) => row({ id: at, who })).join('\n'), use);
    expect(records.map(({ subject }) => subject)).toEqual(['anna', '7', undefined, undefined]);
    const [plain] = await load(row({}));
    for (const { digest } of records) expect(digest).toBe(plain?.digest);
    expect(plain).not.toHaveProperty('subject');
    await expect(load(row({}), use)).rejects.toThrow(/who.*is missing/);
    await expect(load(row({ who: ['x'] }), use)).rejects.toThrow(/who.*must be a string or a number/);
    await expect(loadRecords('.', 'train', use, folder)).rejects.toThrow(/data\.subject names a field/);
  });

  test('distinct contents have distinct canonical forms', async () => {
    const content = fc.record({
      label: fc.string({ unit: 'binary' }),
      a: fc.string({ unit: 'binary' }),
      b: fc.string(),
    });
    await fc.assert(
      fc.asyncProperty(content, content, async (x, y) => {
        fc.pre(x.label !== '' && y.label !== '');
        const [first, second] = await load(`${row({ ...x, id: 1 })}\n${row({ ...y, id: 2 })}`);
        const same = x.label === y.label && x.a === y.a && x.b === y.b;
        expect(first?.text).toEqual({ a: x.a, b: x.b });
        expect(first?.digest === second?.digest).toBe(same);
      }),
      { numRuns: 50 },
    );
  });

  test('field names from Object.prototype are fields like others', async () => {
    const use = { text: ['__proto__', 'constructor'] };
    const [record] = await load('{"__proto__":"p","constructor":"c"}', use);
    expect(Object.entries(record?.text ?? {})).toEqual([
      ['__proto__', 'p'],
      ['constructor', 'c'],
    ]);
    expect((await dataError(load('{"__proto__":"p"}', use))).field).toBe('constructor');
  });
});

describe('JSON Lines errors', () => {
  const broken: [
    string,
    string | Uint8Array,
    Partial<{ field: string; row: number; line: number }>,
    RegExp,
  ][] = [
    ['empty file', '', {}, /is empty/],
    ['blank file', '\n \n', {}, /no records/],
    ['invalid JSON', `${row({})}\n\n{"secret":"x" "b"}`, { row: 1, line: 3 }, /not valid JSON \(column 15\)/],
    ['an array', `[${row({})}]`, { row: 0, line: 1 }, /not a JSON object/],
    ['missing id', '{"label":"l","a":"","b":""}', { field: 'id', row: 0, line: 1 }, /is missing/],
    ['empty id', row({ id: '' }), { field: 'id' }, /is empty/],
    ['half a surrogate pair in an id', row({ id: '\ud800' }), { field: 'id' }, /Unicode/],
    ['an inexact number', '{"id":9007199254740993}', { field: 'id' }, /too large/],
    [
      'missing text',
      `${row({})}\n${row({ id: 2, b: undefined })}`,
      { field: 'b', row: 1, line: 2 },
      /is missing/,
    ],
    ['text that is a number', row({ a: 5 }), { field: 'a' }, /must be a string, found a number/],
    ['null label', row({ label: null }), { field: 'label' }, /found null/],
    ['object label', row({ label: {} }), { field: 'label' }, /found an object/],
    [
      'duplicate ids',
      `${row({})}\n${row({ id: 1 })}\n${row({})}`,
      { field: 'id', row: 2, line: 3 },
      /already that of line 1 \(row 0\)/,
    ],
    [
      'not UTF-8',
      Buffer.concat([Buffer.from(`${row({})}\n`), Buffer.from([0x22, 0xff])]),
      { line: 2 },
      /not UTF-8/,
    ],
    ['UTF-16', Buffer.from(`\ufeff${row({})}`, 'utf16le'), { line: 1 }, /not UTF-8/],
  ];
  test.each(broken)('%s', async (_, content, place, message) => {
    const error = await dataError(load(content));
    expect(error).toMatchObject(place);
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain('secret');
  });

  test('labels: a stranger is refused, and class numbers are not guessed', async () => {
    const labels = ['cat', 'dog'];
    await expect(load(row({ label: 'dog' }), { ...options, labels })).resolves.toHaveLength(1);
    const error = await dataError(
      load(`${row({ label: 'cat' })}\n${row({ id: 1, label: 0 })}`, { ...options, labels }),
    );
    expect(error).toMatchObject({ field: 'label', row: 1, line: 2 });
    expect(error.message).toContain('label "0" is not one of the configured labels: "cat", "dog"');
  });

  test('a subject in two Unicode forms: an erasure by one would leave the records of the other', async () => {
    const about = (...subjects: (string | null)[]) =>
      load(subjects.map((who, id) => row({ id, who })).join('\n'), { ...options, subject: 'who' });
    await expect(about('Jos\u00e9', 'Jos\u00e9', null, 'Jose', '')).resolves.toHaveLength(5);
    const error = await dataError(about('Jos\u00e9', null, 'Jose\u0301'));
    expect(error).toMatchObject({ field: 'who', row: 2, line: 3 });
    expect(error.message).toMatch(/another Unicode form in line 1 \(row 0\)/);
  });

  test('one line, whatever a file is called', async () => {
    const error = await dataError(load('{"image":"no\\nsuch.png"}', { image: 'image' }));
    expect(error.message).toMatch(/no such\.png does not exist$/);
  });

  test('a long value is cut', async () => {
    const error = await dataError(load(row({ label: 'x'.repeat(5000) }), { ...options, labels: ['a'] }));
    expect(error.message.length).toBeLessThan(folder.length + 200);
  });

  test('sources: nothing there, nothing to learn from, formats of later', async () => {
    expect((await dataError(loadRecords('none.csv', 'train', options, folder))).message).toMatch(
      /does not exist/,
    );
    expect((await dataError(load(row({}), {}))).message).toMatch(/data.text or data.image/);
    put(folder, 'x.arrow', 'PAR1');
    const error = await dataError(loadRecords('x.arrow', 'train', options, folder));
    expect(error.message).toMatch(/\.arrow is not supported; supported are JSON Lines .*\.csv/);
    expect(error.file).toBe(join(folder, 'x.arrow'));
  });
});
