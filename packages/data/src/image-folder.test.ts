import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, describe, expect, test } from 'vitest';
import { loadRecords } from './load.ts';
import { dataError, put, tempFolder } from './testing/temp.ts';

const folder = tempFolder();
let png: Uint8Array;
beforeAll(async () => {
  png = await sharp({ create: { width: 2, height: 1, channels: 3, background: '#fff' } })
    .png()
    .toBuffer();
});

describe('a folder of images', () => {
  test('sub-folders are labels, ids are relative paths in NFC, sorted', async () => {
    const base = join(folder, 'good');
    for (const name of ['dog/b.png', 'dog/B.PNG', 'cat/10.png', 'cat/9.png', 'cat/e\u0301.png'])
      put(base, name, png);
    for (const name of ['.DS_Store', 'dog/.hidden.png', 'dog/Thumbs.db', 'dog/notes.txt', 'README.md'])
      put(base, name, '?');
    symlinkSync(join(base, 'cat/9.png'), join(base, 'dog/link.png'));
    const records = await loadRecords('good', 'eval', { id: 'unused' }, folder);
    expect(records.map(({ id, label }) => `${label}: ${id}`)).toEqual([
      'cat: cat/10.png',
      'cat: cat/9.png',
      'cat: cat/\u00e9.png',
      'dog: dog/B.PNG',
      'dog: dog/b.png',
      'dog: dog/link.png',
    ]);
    expect(records[0]?.digest).toBe(records[1]?.digest);
    expect(records[0]?.digest).not.toBe(records[3]?.digest);
    expect(await records[2]?.image?.()).toMatchObject({ width: 2, height: 1, channels: 3 });
    const error = await dataError(loadRecords('good', 'train', { labels: ['cat'] }, folder));
    expect(error.message).toMatch(/good\/dog: label "dog" is not one of/);
  });

  test.each([
    ['an empty folder', [], /holds no images/],
    ['a format we cannot decode', ['cat/1.bmp'], /\.bmp images are not supported; convert/],
    ['another name for a JPEG', ['cat/1.png', 'cat/2.jfif'], /\.jfif images are not supported; convert/],
    ['an image without label', ['cat/1.png', '2.png'], /outside the label folders/],
    ['folders too deep', ['train/cat/1.png'], /folder inside a label folder/],
    ['two Unicode forms of a name', ['cat/\u00e9.png', 'cat/e\u0301.png'], /same id as/],
  ])('error: %s', async (name, files, message) => {
    const base = join(folder, name);
    put(base, 'zebra/notes.txt', '');
    for (const file of files) put(base, file, png);
    expect((await dataError(loadRecords(base, 'train', {}, folder))).message).toMatch(message);
  });

  test('error: nothing we know', async () => {
    put(folder, 'unknown/data.bin', '');
    expect((await dataError(loadRecords('unknown', 'train', {}, folder))).message).toMatch(
      /holds no data; supported/,
    );
  });
});
