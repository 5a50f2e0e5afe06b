import { createHash } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DataError } from './errors.ts';
import { parseIdx, readIdx } from './idx.ts';
import { writeIdx } from './idx-folder.ts';
import { loadRecords } from './load.ts';
import { dataError, put, tempFolder } from './testing/temp.ts';

const folder = tempFolder();
const images = [0, 1, 2].map((i) => Uint8Array.from({ length: 6 }, (_, j) => i * 10 + j));
const small = { images, width: 3, height: 2, labels: [7, 0, 255] };

function header(magic: number, ...sizes: number[]): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(4 + 4 * sizes.length));
  [magic, ...sizes].forEach((value, i) => {
    bytes.setUint32(4 * i, value);
  });
  return new Uint8Array(bytes.buffer);
}

describe('IDX folders', () => {
  test('what writeIdx writes is what loadRecords reads', async () => {
    const base = join(folder, 'round');
    await writeIdx(base, 'train', small);
    await writeIdx(base, 'eval', { ...small, labels: [1, 1, 1] });
    const records = await loadRecords('round', 'train', {}, folder);
    expect(records.map(({ id, label }) => [id, label])).toEqual([
      ['train/0', '7'],
      ['train/1', '0'],
      ['train/2', '255'],
    ]);
    expect(await records[1]?.image?.()).toEqual({ width: 3, height: 2, channels: 1, pixels: images[1] });
    const canonical = Buffer.concat([
      Buffer.from('["s3t-record-1","0",[],[3,2,1]]\n'),
      images[1] as Uint8Array,
    ]);
    expect(records[1]?.digest).toBe(createHash('sha256').update(canonical).digest('hex'));
    const other = await loadRecords('round', 'eval', { labels: ['no', 'yes'] }, folder);
    expect(other.map(({ id, label }) => [id, label])[2]).toEqual(['eval/2', 'yes']);
    const error = await dataError(loadRecords('round', 'train', { labels: ['no', 'yes'] }, folder));
    expect(error).toMatchObject({ file: join(base, 'train-labels-idx1-ubyte'), row: 0 });
    expect(error.message).toMatch(/label 7 has no name/);
  });

  test('compressed files are the same records; a plain file beside its .gz is not a second one', async () => {
    const base = join(folder, 'gz');
    await writeIdx(base, 'train', small);
    const plain = await loadRecords(base, 'train', {}, folder);
    for (const name of ['train-images-idx3-ubyte', 'train-labels-idx1-ubyte']) {
      put(base, `${name}.gz`, gzipSync(readFileSync(join(base, name))));
      expect((await loadRecords(base, 'train', {}, folder)).map((r) => r.digest)).toEqual(
        plain.map((r) => r.digest),
      );
      rmSync(join(base, name));
    }
    expect((await loadRecords(base, 'train', {}, folder)).map((r) => r.digest)).toEqual(
      plain.map((r) => r.digest),
    );
  });

  test('60,000 images are views of one buffer', async () => {
    const base = join(folder, 'big');
    const many = Array.from({ length: 60_000 }, (_, i) => new Uint8Array(784).fill(i));
    await writeIdx(base, 'train', {
      images: many,
      width: 28,
      height: 28,
      labels: many.map((_, i) => i % 10),
    });
    const records = await loadRecords(base, 'train', {}, folder);
    const first = await records[0]?.image?.();
    const last = await records[59_999]?.image?.();
    expect(last?.pixels.buffer).toBe(first?.pixels.buffer);
    expect(last?.pixels).toEqual(many[59_999]);
  });

  test('errors of the folder', async () => {
    const base = join(folder, 'wrong');
    await writeIdx(base, 'train', small);
    expect((await dataError(loadRecords(base, 'eval', {}, folder))).message).toMatch(
      /no file t10k-\*-idx3-ubyte/,
    );
    put(base, 'train-labels-idx1-ubyte', Buffer.concat([header(0x801, 2), Buffer.alloc(2)]));
    expect((await dataError(loadRecords(base, 'train', {}, folder))).message).toMatch(
      /2 labels, but .* 3 images/,
    );
    put(base, 'train-faces-idx3-ubyte', Buffer.alloc(0));
    expect((await dataError(loadRecords(base, 'train', {}, folder))).message).toMatch(
      /both train-faces.* and train-im/,
    );
  });

  test('writeIdx refuses what IDX cannot hold', async () => {
    await expect(writeIdx(folder, 'train', { ...small, labels: [1] })).rejects.toThrow(RangeError);
    await expect(writeIdx(folder, 'train', { ...small, labels: [1, 2, 256] })).rejects.toThrow(RangeError);
    await expect(writeIdx(folder, 'train', { ...small, width: 4 })).rejects.toThrow(RangeError);
    await expect(writeIdx(folder, 'train', { ...small, images: [], labels: [] })).rejects.toThrow(RangeError);
  });
});

describe('IDX bytes that lie', () => {
  test.each([
    ['empty', new Uint8Array(), /is empty/],
    ['half a header', header(0x803, 1), /truncated: 8 bytes, its header needs 16/],
    ['labels as images', header(0x801, 1, 1, 1), /begins 0x00000801, not 0x00000803/],
    ['floats', header(0xd03, 1, 1, 1), /begins 0x00000d03/],
    ['no images', header(0x803, 0, 28, 28), /holds nothing/],
    ['4 billion images', header(0x803, 0xffffffff, 0xffffffff, 0xffffffff), /truncated/],
    ['too few bytes', Buffer.concat([header(0x803, 2, 2, 2), Buffer.alloc(7)]), /truncated: 23 bytes, .* 24/],
    [
      'too many bytes',
      Buffer.concat([header(0x803, 2, 2, 2), Buffer.alloc(9)]),
      /25 bytes long, its header says 24/,
    ],
  ])('%s, plain and compressed', async (_, bytes, message) => {
    expect((await dataError(readIdx(put(folder, 'x', bytes), 3))).message).toMatch(message);
    const compressed = await dataError(readIdx(put(folder, 'x.gz', gzipSync(bytes)), 3));
    expect(compressed.message).toMatch(/truncated|empty|begins 0x|holds/);
  });

  test('compressed files: cut off, not gzip, and a gigabyte behind a small header', async () => {
    const whole = gzipSync(
      Buffer.concat([header(0x803, 100, 28, 28), Buffer.alloc(78_400, 'noise 1 2 3 5 8')]),
    );
    expect((await dataError(readIdx(put(folder, 'cut.gz', whole.subarray(0, -9)), 3))).message).toMatch(
      /complete gzip/,
    );
    expect((await dataError(readIdx(put(folder, 'no.gz', header(0x803, 1, 1, 1)), 3))).message).toMatch(
      /gzip/,
    );
    const bomb = gzipSync(Buffer.concat([header(0x803, 1, 1, 1), Buffer.alloc(1 << 26)]));
    const before = process.memoryUsage().arrayBuffers;
    expect((await dataError(readIdx(put(folder, 'bomb.gz', bomb), 3))).message).toMatch(
      /more than the 17 bytes/,
    );
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 24);
  });

  test('fuzz: any bytes give an Idx that is a view of them, or a DataError', async () => {
    const size = fc.oneof(fc.nat(5), fc.nat(0xffffffff), fc.constant(0xffffffff));
    const lying = fc
      .tuple(
        fc.constantFrom(0x801, 0x803, 0x80300, 0),
        fc.array(size, { maxLength: 4 }),
        fc.uint8Array({ maxLength: 130 }),
      )
      .map(([magic, sizes, data]) => new Uint8Array(Buffer.concat([header(magic, ...sizes), data])));
    const honest = fc.tuple(fc.nat(4), fc.nat(4), fc.nat(4)).map(([n, h, w]) => {
      const bytes = Buffer.concat([header(0x803, n, h, w), Buffer.alloc(n * h * w)]);
      return new Uint8Array(bytes);
    });
    const cut = fc.tuple(honest, fc.nat(130)).map(([bytes, end]) => bytes.subarray(0, end));
    const any = fc.oneof(lying, honest, cut, fc.uint8Array({ maxLength: 64 }));
    let good = 0;
    fc.assert(
      fc.property(any, fc.constantFrom(1, 3), (bytes, rank) => {
        try {
          const { dimensions, data } = parseIdx(bytes, 'fuzz', rank);
          expect(data.buffer).toBe(bytes.buffer);
          expect(data.length).toBe(dimensions.reduce((a, b) => a * b));
          good++;
        } catch (error) {
          if (!(error instanceof DataError)) throw error;
        }
      }),
      { numRuns: 5000 },
    );
    expect(good).toBeGreaterThan(100);
    await fc.assert(
      fc.asyncProperty(any, fc.nat(20), async (bytes, at) => {
        const packed = gzipSync(bytes);
        packed[at % packed.length] = (packed[at % packed.length] as number) ^ 1;
        const result = await readIdx(put(folder, 'fuzz.gz', packed), 3).catch((error: unknown) => error);
        if (!(result instanceof DataError)) expect(result).toHaveProperty('dimensions');
      }),
      { numRuns: 300 },
    );
  });
});
