import { readFileSync } from 'node:fs';
import sharp, { type Sharp } from 'sharp';
import { describe, expect, test } from 'vitest';
import { decodeImage, type ImageDecoder } from './image.ts';
import { loadRecords } from './load.ts';
import { dataError, put, tempFolder } from './testing/temp.ts';

const folder = tempFolder();
const place = { file: 'image' };

const raw = (values: ArrayLike<number>, width: number, channels: 1 | 2 | 3 | 4, wide = false): Sharp =>
  sharp(wide ? Uint16Array.from(values) : Uint8Array.from(values), {
    raw: { width, height: values.length / channels / width, channels },
  });
const decode = async (image: Sharp) => {
  const decoded = await decodeImage(await image.toBuffer(), place);
  return { ...decoded, pixels: [...decoded.pixels] };
};

test('another decoder is asked, for files and for bytes in a table', async () => {
  const pixel = { width: 1, height: 1, channels: 1 as const, pixels: Uint8Array.of(7) };
  const asked: string[] = [];
  const decoder: ImageDecoder = {
    name: 'mine',
    decode: async (bytes, { file }) => {
      asked.push(`${file.slice(folder.length + 1)} ${bytes.length}`);
      return pixel;
    },
  };
  put(folder, 'other/a/1.png', Uint8Array.of(1, 2));
  put(folder, 'other.jsonl', '{"image":"other/a/1.png"}');
  const [inFolder] = await loadRecords('other', 'train', { decoder }, folder);
  const [inTable] = await loadRecords('other.jsonl', 'train', { image: 'image', decoder }, folder);
  expect([await inFolder!.image!(), await inTable!.image!()]).toEqual([pixel, pixel]);
  expect(asked).toEqual(['other/a/1.png 2', 'other/a/1.png 2']);
});

describe('decoding images', () => {
  test('colour and greyscale keep their channels', async () => {
    const rgb = [1, 2, 3, 40, 50, 60, 7, 8, 9, 100, 110, 120];
    expect(await decode(raw(rgb, 2, 3).png())).toEqual({ width: 2, height: 2, channels: 3, pixels: rgb });
    const grey = raw([0, 10, 200, 255], 4, 1).toColourspace('b-w');
    expect(await decode(grey.png())).toEqual({ width: 4, height: 1, channels: 1, pixels: [0, 10, 200, 255] });
    expect((await decode(grey.jpeg())).channels).toBe(1);
  });

  test('lossless WebP, GIF (first frame) and palettes become RGB', async () => {
    const rgb = [255, 0, 0, 0, 0, 255];
    for (const image of [
      raw(rgb, 2, 3).webp({ lossless: true }),
      raw(rgb, 2, 3).gif(),
      raw(rgb, 2, 3).png({ palette: true }),
    ]) {
      expect(await decode(image)).toEqual({ width: 2, height: 1, channels: 3, pixels: rgb });
    }
  });

  test('a format that is not named is refused, whatever the file is called', async () => {
    const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="2" height="1"><text>a</text></svg>';
    const black = raw([0, 0, 0], 1, 3);
    for (const bytes of [Buffer.from(svg), await black.tiff().toBuffer(), await black.avif().toBuffer()])
      expect((await dataError(decodeImage(bytes, place))).message).toMatch(/is none of png, jpeg, webp, gif/);
  });

  test('transparency is laid over white', async () => {
    const rgba = [0, 0, 0, 0, 10, 20, 30, 255, 200, 0, 0, 128];
    expect((await decode(raw(rgba, 3, 4).png())).pixels).toEqual([255, 255, 255, 10, 20, 30, 227, 127, 127]);
    const grey = await decode(raw([0, 0, 100, 255, 200, 128], 3, 2).toColourspace('b-w').png());
    expect(grey).toMatchObject({ channels: 1, pixels: [255, 100, 227] });
    const wide = await decode(raw([0, 0, 25700, 65535], 2, 2, true).toColourspace('grey16').png());
    expect(wide).toMatchObject({ channels: 1, pixels: [255, 100] });
  });

  test('16 bits become 8', async () => {
    const values = Array.from({ length: 3 * 6554 }, (_, i) => Math.min(65_535, Math.floor((i * 10) / 3)));
    for (const image of [
      raw(values, 6554, 3, true).toColourspace('rgb16'),
      raw(values, 6554, 1, true).toColourspace('grey16'),
    ]) {
      const { pixels } = await decode(image.png());
      expect(pixels).toHaveLength(values.length);
      expect(
        Math.max(...pixels.map((pixel, i) => Math.abs(pixel - (values[i] as number) / 257))),
      ).toBeLessThan(1);
      expect([pixels[0], pixels.at(-1)]).toEqual([0, 255]);
    }
  });

  test('EXIF orientation is applied', async () => {
    const wide = raw(new Uint8Array(16 * 8 * 3), 16, 3)
      .jpeg()
      .withMetadata({ orientation: 6 });
    expect(await decode(wide)).toMatchObject({ width: 8, height: 16 });
  });

  test('broken images are errors that name the file', async () => {
    const png = await raw(new Uint8Array(3000), 100, 1).png().toBuffer();
    const jpeg = await raw(
      new Uint8Array(30_000).map((_, i) => i * 7),
      100,
      3,
    )
      .jpeg()
      .toBuffer();
    for (const bytes of [
      new Uint8Array(),
      Buffer.from('hello'),
      png.subarray(0, -20),
      jpeg.subarray(0, jpeg.length / 2),
    ]) {
      expect((await dataError(decodeImage(bytes, place))).message).toMatch(
        /image: cannot be decoded as an image/,
      );
    }
  });
});

describe('images of a table', () => {
  const options = { id: 'id', label: 'label', image: 'path', text: ['caption'] };

  test('paths are relative to the data file; the digest covers the bytes of the file', async () => {
    const png = await raw([9, 8, 7], 1, 3).png().toBuffer();
    put(folder, 'deep/images/1.png', png);
    put(folder, 'deep/images/2.png', png);
    put(folder, 'deep/images/3.jpg', await raw([9, 8, 7], 1, 3).jpeg().toBuffer());
    put(
      folder,
      'deep/t.csv',
      'id,label,caption,path\na,x,c,images/1.png\nb,x,c,images/2.png\nc,x,c,images/3.jpg\n',
    );
    const records = await loadRecords('deep/t.csv', 'train', options, folder);
    expect(await records[0]?.image?.()).toEqual({
      width: 1,
      height: 1,
      channels: 3,
      pixels: Uint8Array.of(9, 8, 7),
    });
    expect(records[0]?.text).toEqual({ caption: 'c' });
    expect(records[1]?.digest).toBe(records[0]?.digest);
    expect(records[2]?.digest).not.toBe(records[0]?.digest);
  });

  test('a missing file, a corrupt one, one that changed since', async () => {
    const line = (path: string): string => `${JSON.stringify({ id: path, label: 'x', caption: '', path })}\n`;
    put(folder, 'ok.png', await raw([1], 1, 1).png().toBuffer());
    const data = put(folder, 't.jsonl', line('ok.png') + line('gone.png'));
    const error = await dataError(loadRecords('t.jsonl', 'train', options, folder));
    expect(error).toMatchObject({ file: data, field: 'path', row: 1, line: 2 });
    expect(error.message).toMatch(/gone\.png does not exist/);

    const corrupt = put(folder, 'corrupt.png', readFileSync(`${folder}/ok.png`).subarray(0, 40));
    put(folder, 't.jsonl', line('ok.png') + line('corrupt.png'));
    const [ok, bad] = await loadRecords('t.jsonl', 'train', options, folder);
    const work = bad?.image?.() ?? Promise.resolve();
    expect(await dataError(work)).toMatchObject({ file: corrupt, row: 1 });

    put(folder, 'ok.png', await raw([2], 1, 1).png().toBuffer());
    expect((await dataError(ok?.image?.() ?? Promise.resolve())).message).toMatch(/has changed/);
  });
});
