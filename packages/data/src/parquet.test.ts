import { join } from 'node:path';
import { brotliCompressSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { parquetWriteBuffer } from 'hyparquet-writer';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { loadRecords } from './load.ts';
import { parquetFilesOf } from './parquet.ts';
import { dataError, put, tempFolder } from './testing/temp.ts';

const folder = tempFolder();

test('rows of parquet: texts, whole numbers of 64 bits as labels, pictures in the table', async () => {
  const png = await sharp({ create: { width: 2, height: 1, channels: 3, background: '#0f0' } })
    .png()
    .toBuffer();
  const bytes = parquetWriteBuffer({
    columnData: [
      { name: 'label', data: [1n, 0n], type: 'INT64' },
      { name: 'text', data: ['é', 'b'], type: 'STRING' },
      { name: 'img', data: [Uint8Array.from(png), Uint8Array.from(png)], type: 'BYTE_ARRAY' },
    ],
  });
  put(folder, 'hub/train-00000-of-00002.parquet', new Uint8Array(bytes));
  put(folder, 'hub/train-00001-of-00002.parquet', new Uint8Array(bytes));
  const records = await loadRecords('hub', 'train', { label: 'label', text: ['text'], image: 'img' }, folder);
  expect(records.map(({ id, label, text }) => [id, label, text?.text])).toEqual([
    ['train/0', '1', 'é'],
    ['train/1', '0', 'b'],
    ['train/2', '1', 'é'],
    ['train/3', '0', 'b'],
  ]);
  expect(await records[0]!.image!()).toMatchObject({ width: 2, height: 1, channels: 3 });
  expect(records[0]!.digest).toBe(records[2]!.digest);
  expect(records[0]!.digest).not.toBe(records[1]!.digest);
});

test.each([
  ['GZIP', gzipSync],
  ['BROTLI', brotliCompressSync],
  ['ZSTD', zstdCompressSync],
] as const)(
  'pages that %s made smaller; one that would grow past what it says is refused',
  async (codec, compress) => {
    const written = (page: (bytes: Uint8Array) => Uint8Array) =>
      new Uint8Array(
        parquetWriteBuffer({
          columnData: [
            { name: 'a', data: Array.from({ length: 500 }, (_, i) => `text ${i % 7}`), type: 'STRING' },
          ],
          codec,
          compressors: { [codec]: page },
        }),
      );
    put(folder, 'small.parquet', written(compress));
    const records = await loadRecords('small.parquet', 'train', { text: ['a'] }, folder);
    expect(records.map(({ text }) => text?.a)).toEqual(
      Array.from({ length: 500 }, (_, i) => `text ${i % 7}`),
    );
    put(
      folder,
      'bomb.parquet',
      written(() => compress(new Uint8Array(2 ** 22))),
    );
    const error = await dataError(loadRecords('bomb.parquet', 'train', { text: ['a'] }, folder));
    expect(error.message).toMatch(/bomb\.parquet: is not a parquet file that can be read \(.+\)$/);
  },
);

test('the digest of a picture in the table covers the class that decides where its record lies', async () => {
  const png = await sharp({ create: { width: 1, height: 1, channels: 3, background: '#0f0' } })
    .png()
    .toBuffer();
  const columnData = [
    { name: 'tier', data: ['gold', 'plain'], type: 'STRING' as const },
    { name: 'img', data: [Uint8Array.from(png), Uint8Array.from(png)], type: 'BYTE_ARRAY' as const },
  ];
  put(folder, 'tiers.parquet', new Uint8Array(parquetWriteBuffer({ columnData })));
  const of = async (risk?: string) =>
    (await loadRecords('tiers.parquet', 'train', { image: 'img', risk }, folder)).map(({ digest }) => digest);
  const [gold, plain] = await of('tier');
  expect(gold).not.toBe(plain);
  const [first, second] = await of();
  expect(first).toBe(second);
});

test('of several splits to measure with, the first', () => {
  const files = ['test-0.parquet', 'validation_matched-0.parquet', 'train-0.parquet', 'x.json'];
  expect(parquetFilesOf(files, 'eval')).toEqual(['validation_matched-0.parquet']);
  expect(parquetFilesOf(files, 'train')).toEqual(['train-0.parquet']);
});

test('one JSON array, as Alpaca is published', async () => {
  put(folder, 'alpaca.json', JSON.stringify([{ instruction: 'a', output: 'b' }]));
  const [record] = await loadRecords('alpaca.json', 'train', { text: ['instruction', 'output'] }, folder);
  expect(record!.text).toEqual({ instruction: 'a', output: 'b' });
});

test.each([
  ['bad.parquet', 'no', /is not a parquet file/],
  ['bad.json', '{"a":', /is not valid JSON/],
  ['bad.json', '[{"a":"x"},\n{"a":"y" "b"}]', /, line 2: is not valid JSON/],
  ['latin.json', Buffer.from('[{"a":"x"},\n{"a":"\xe9"}]', 'latin1'), /, line 2: is not UTF-8 text/],
  ['one.json', '{"a":1}', /does not hold an array/],
  ['row.json', '[{"a":"x"},1]', /row 1: is not a JSON object/],
])('%s is refused', async (name, content, problem) => {
  put(folder, name, content);
  const error = await dataError(loadRecords(name, 'train', { text: ['a'] }, folder));
  expect(error.file).toBe(join(folder, name));
  expect(error.message).toMatch(problem);
});

test('a folder of files: errors name file and row', async () => {
  const part = (name: string, id: string[]): string => {
    const text = id.map((one) => (one === 'odd' ? null : 't'));
    const columnData = [
      { name: 'id', data: id, type: 'STRING' as const },
      { name: 'text', data: text, type: 'STRING' as const, nullable: true },
    ];
    return put(folder, name, new Uint8Array(parquetWriteBuffer({ columnData })));
  };
  const options = { id: 'id', text: ['text'] };
  const first = part('parts/train-0.parquet', ['a', 'b']);
  const second = part('parts/train-1.parquet', ['c', 'odd']);
  const missing = await dataError(loadRecords('parts', 'train', options, folder));
  expect(missing).toMatchObject({ file: second, row: 1, field: 'text' });
  expect(missing.message).toContain(`${second}, row 1, field "text"`);
  part('parts/train-1.parquet', ['c', 'b']);
  const twice = await dataError(loadRecords('parts', 'train', options, folder));
  expect(twice).toMatchObject({ file: second, row: 1, field: 'id' });
  expect(twice.message).toContain(`already that of ${first}, row 1;`);
});

test('a folder of files: more rows than a call may have arguments', async () => {
  const columnData = [{ name: 'text', data: new Array<string>(150_000).fill('t'), type: 'STRING' as const }];
  put(folder, 'many/train-0.parquet', new Uint8Array(parquetWriteBuffer({ columnData })));
  expect(await loadRecords('many', 'train', { text: ['text'] }, folder)).toHaveLength(150_000);
});

test('a folder of files: paths of pictures are relative to their own file', async () => {
  const png = await sharp({ create: { width: 2, height: 1, channels: 3, background: '#0f0' } })
    .png()
    .toBuffer();
  put(folder, 'paths/a.png', png);
  put(folder, 'a.png', 'another file');
  const columnData = [{ name: 'image', data: ['a.png'], type: 'STRING' as const }];
  put(folder, 'paths/train-0.parquet', new Uint8Array(parquetWriteBuffer({ columnData })));
  const [record] = await loadRecords('paths', 'train', { image: 'image' }, folder);
  expect(await record!.image!()).toMatchObject({ width: 2, height: 1 });
});

test.each([
  ['rows.json', '[\n{"a": "x"},\n{"b": "y"}\n]'],
  ['rows.parquet', new Uint8Array(parquetWriteBuffer({ columnData: [{ name: 'a', data: ['x', null] }] }))],
])('%s: a row is no line', async (name, content) => {
  put(folder, name, content);
  const error = await dataError(loadRecords(name, 'train', { text: ['a'] }, folder));
  expect(error).toMatchObject({ row: 1, field: 'a', line: undefined });
});

test('text that is no UTF-8 is refused where it is read', async () => {
  const file = new Uint8Array(
    parquetWriteBuffer({
      codec: 'UNCOMPRESSED',
      columnData: [
        { name: 'text', data: ['good', 'caf~'], type: 'STRING', encoding: 'PLAIN' },
        { name: 'other', data: ['one', 'two'], type: 'STRING', encoding: 'PLAIN' },
      ],
    }),
  );
  for (let at = 0; at < file.length; at++) if (file[at] === 0x7e) file[at] = 0xe9;
  put(folder, 'latin.parquet', file);
  const error = await dataError(loadRecords('latin.parquet', 'train', { text: ['text'] }, folder));
  expect(error).toMatchObject({ row: 1, field: 'text' });
  expect(error.message).toMatch(/no UTF-8/);
  expect(await loadRecords('latin.parquet', 'train', { text: ['other'] }, folder)).toHaveLength(2);
});

test('what is broken in two columns is one error', async () => {
  const columnData = ['id', 'text'].map((name) => ({ name, data: ['a', 'b'], type: 'STRING' as const }));
  const file = Buffer.from(parquetWriteBuffer({ columnData }));
  // The first page, and in the schema the name of the second column, which is found out before.
  file.fill(0xff, 4, 12);
  file.write('tex!', file.indexOf('text'));
  put(folder, 'twice.parquet', file);
  const unhandled: unknown[] = [];
  const note = (reason: unknown) => unhandled.push(reason);
  process.on('unhandledRejection', note);
  const error = await dataError(loadRecords('twice.parquet', 'train', { text: ['text'] }, folder));
  await new Promise((resolve) => setTimeout(resolve, 20));
  process.off('unhandledRejection', note);
  expect(error.message).toMatch(/is not a parquet file that can be read/);
  expect(unhandled).toEqual([]);
});

test('two columns of one name are refused where one is asked for', async () => {
  const columnData = ['id', 'text', 'texu'].map((name) => ({ name, data: [name], type: 'STRING' as const }));
  const file = Buffer.from(parquetWriteBuffer({ columnData }));
  for (let at = file.indexOf('texu'); at >= 0; at = file.indexOf('texu')) file.write('text', at);
  put(folder, 'named.parquet', file);
  const error = await dataError(loadRecords('named.parquet', 'train', { text: ['text'] }, folder));
  expect(error).toMatchObject({ field: 'text' });
  expect(error.message).toMatch(/two columns have this name/);
  expect(await loadRecords('named.parquet', 'train', { text: ['id'] }, folder)).toHaveLength(1);
});
