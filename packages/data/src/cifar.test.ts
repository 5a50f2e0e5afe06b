import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadRecords } from './load.ts';
import { dataError, put, tempFolder } from './testing/temp.ts';

const folder = tempFolder();

/** A record whose pixel (x, y) is red x, green y, blue `mark`. */
function record(labels: number[], mark: number): Uint8Array {
  const bytes = new Uint8Array(labels.length + 3072);
  bytes.set(labels);
  for (let p = 0; p < 1024; p++) {
    bytes[labels.length + p] = p % 32;
    bytes[labels.length + 1024 + p] = Math.floor(p / 32);
    bytes[labels.length + 2048 + p] = mark;
  }
  return bytes;
}

describe('CIFAR binaries', () => {
  test('CIFAR-10: planes interleaved, batches in number order, ids counted through', async () => {
    const base = join(folder, 'ten');
    put(base, 'data_batch_10.bin', record([3], 30));
    put(base, 'data_batch_2.bin', Buffer.concat([record([9], 10), record([0], 20)]));
    put(base, 'test_batch.bin', record([1], 40));
    put(base, 'batches.meta.txt', 'airplane\n');
    const records = await loadRecords(base, 'train', {}, folder);
    expect(records.map(({ id, label }) => [id, label])).toEqual([
      ['train/0', '9'],
      ['train/1', '0'],
      ['train/2', '3'],
    ]);
    const image = await records[1]?.image?.();
    expect(image).toMatchObject({ width: 32, height: 32, channels: 3 });
    expect(image?.pixels.length).toBe(3072);
    const at = (5 * 32 + 8) * 3;
    expect([...(image?.pixels.subarray(at, at + 3) ?? [])]).toEqual([8, 5, 20]);
    const labels = Array.from('abcdefghij');
    const [test] = await loadRecords(base, 'eval', { labels }, folder);
    expect([test?.id, test?.label]).toEqual(['eval/0', 'b']);
  });

  test('CIFAR-100: the fine label', async () => {
    const base = join(folder, 'hundred');
    put(base, 'train.bin', Buffer.concat([record([19, 99], 1), record([0, 5], 2)]));
    const records = await loadRecords(base, 'train', {}, folder);
    expect(records.map(({ label }) => label)).toEqual(['99', '5']);
    expect((await dataError(loadRecords(base, 'eval', {}, folder))).message).toMatch(
      /no CIFAR-100 file for the eval/,
    );
  });

  test('errors', async () => {
    const base = join(folder, 'wrong');
    put(base, 'data_batch_1.bin', record([1], 1).subarray(1));
    expect((await dataError(loadRecords(base, 'train', {}, folder))).message).toMatch(
      /3072 bytes is no multiple of 3073/,
    );
    const file = put(base, 'data_batch_1.bin', Buffer.concat([record([1], 1), record([10], 1)]));
    expect(await dataError(loadRecords(base, 'train', {}, folder))).toMatchObject({ file, row: 1 });
    put(base, 'data_batch_1.bin', '');
    expect((await dataError(loadRecords(base, 'train', {}, folder))).message).toMatch(/is empty/);
    put(base, 'train.bin', record([1, 1], 1));
    expect((await dataError(loadRecords(base, 'train', {}, folder))).message).toMatch(
      /both CIFAR-10 and CIFAR-100/,
    );
    put(base, 'train-images-idx3-ubyte', '');
    expect((await dataError(loadRecords(base, 'train', {}, folder))).message).toMatch(/both IDX and CIFAR/);
  });
});
