import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type BaseModel, baseActivations, loadBaseModel } from '@s3t/model';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type KeepConfig, parseConfig } from './config.ts';
import { KeptActivations } from './kept-activations.ts';
import { DiskRows, MemoryRows } from './row-store.ts';
import type { RunRecord } from './run-data.ts';
import { stageSetting } from './setting.ts';
import { sharedDevice } from './testing/device.ts';
import { imageOf, madeRecords } from './testing/pictures.ts';
import { CONFIG } from './testing/project.ts';
import { refused } from './testing/refused.ts';
import { temporaryFolder } from './testing/temporary.ts';
import { tinyBase, writeBase } from './testing/tiny-base.ts';

const device = sharedDevice();
const LAYERS = [2, 1, 0];
const COUNT = 12;
/** 5 tokens of 16 values. */
const ROW = 80;
const KEYS = Array.from({ length: COUNT }, (_, i) => `${String(i).padStart(8, '0')} key`);
let base: BaseModel;
let folder: string;
let records: RunRecord[];
let whole: ReadonlyMap<number, Float32Array>;

const configOf = (keep?: KeepConfig) =>
  parseConfig({ ...CONFIG, training: { ...(CONFIG.training as object), batchSize: 5, keep } }, 'c.json');
const compute = (keep?: KeepConfig) =>
  KeptActivations.compute({ base, records, layers: LAYERS, config: configOf(keep), folder });

/** No picture varies here. */
const DRAW = { key: [1, 2], epoch: 0 } as const;

/** What is read of a layer for some records, in a batch. */
async function rowsOf(kept: KeptActivations, layer: number, numbers: readonly number[]) {
  const keys = numbers.map((number) => KEYS[number]!);
  await kept.prepare(keys, layer, DRAW);
  return keys.map((key) => {
    const row = new Float32Array(ROW);
    kept.read(key, layer, row);
    return row;
  });
}

beforeAll(async () => {
  folder = await temporaryFolder();
  await writeBase(join(folder, 'base'), tinyBase());
  base = await loadBaseModel(device(), join(folder, 'base'));
  const pictures = madeRecords(COUNT).map((made) => imageOf(made).image);
  records = pictures.map((picture, i) => ({
    key: KEYS[i]!,
    label: 0,
    record: { id: `${i}`, digest: '', label: null, image: async () => picture },
  }));
  whole = await baseActivations(base, COUNT, (i) => base.encode({ image: pictures[i]! }), LAYERS);
});
afterAll(() => rm(folder, { recursive: true }));

describe('what enters the layers that are trained', () => {
  const BYTES = ROW * 4;
  test.each<[string, KeepConfig | undefined]>([
    ['in memory', undefined],
    ['on disk', { where: 'disk' }],
    ['partly in memory', { bytes: 17 * BYTES }],
    ['partly on disk', { where: 'disk', bytes: 17 * BYTES + 1 }],
    ['nowhere', { bytes: 0 }],
    ['rounded, in memory', { dtype: 'f16' }],
    ['rounded, on disk', { dtype: 'f16', where: 'disk' }],
    ['rounded, partly on disk', { dtype: 'f16', where: 'disk', bytes: 8 * BYTES }],
    ['rounded, nowhere', { dtype: 'f16', bytes: 0 }],
  ])('has the same bits kept %s', async (_, keep) => {
    const kept = await compute(keep);
    for (const layer of LAYERS)
      for (const numbers of [[0, 1, 2, 3, 4], [11, 3], [7], KEYS.map((_, i) => COUNT - 1 - i)]) {
        const rows = await rowsOf(kept, layer, numbers);
        for (const [i, number] of numbers.entries()) {
          const exact = whole.get(layer)!.slice(number * ROW, (number + 1) * ROW);
          const expected = keep?.dtype === 'f16' ? exact.map(Math.f16round) : exact;
          expect(Buffer.from(rows[i]!.buffer).equals(Buffer.from(expected.buffer))).toBe(true);
        }
      }
    kept.clear();
  });

  test('has a file without a name', async () => {
    const kept = await compute({ where: 'disk' });
    expect(await readdir(folder)).toEqual(['base']);
    kept.clear();
  });

  test.each<[string, KeepConfig]>([
    ['memory', {}],
    ['a disk', { where: 'disk' }],
    ['nothing', { bytes: 0 }],
  ])('is gone from %s with its record, and the others stay', async (_, keep) => {
    const kept = await compute(keep);
    await rowsOf(kept, 2, [3, 4]);
    kept.forget(KEYS[3]!);
    expect(() => kept.read(KEYS[3]!, 2, new Float32Array(ROW))).toThrow('no activation is kept');
    const [four] = await rowsOf(kept, 2, [4]);
    expect(four).toEqual(whole.get(2)!.slice(4 * ROW, 5 * ROW));
    // Erased while its batch is being prepared: the batch is, and the record is not in it.
    const preparing = kept.prepare([KEYS[5]!, KEYS[6]!], 1, DRAW);
    kept.forget(KEYS[6]!);
    await preparing;
    const five = new Float32Array(ROW);
    kept.read(KEYS[5]!, 1, five);
    expect(five).toEqual(whole.get(1)!.slice(5 * ROW, 6 * ROW));
    kept.clear();
  });

  test('is not computed of a record that is forgotten meanwhile, whose picture may be gone', async () => {
    const reading = Promise.withResolvers<void>();
    const picture = Promise.withResolvers<never>();
    const gone = async () => {
      reading.resolve();
      return picture.promise;
    };
    const images = new Map([
      [3, gone],
      [9, () => expect.unreachable('it was forgotten before')],
    ]);
    const some = records.map((each, i) => ({
      ...each,
      record: { ...each.record, image: images.get(i) ?? each.record.image! },
    }));
    const write = vi.spyOn(DiskRows.prototype, 'write');
    const zero = vi.spyOn(DiskRows.prototype, 'zero');
    const config = configOf({ where: 'disk' });
    const kept = new KeptActivations({ base, records: some, layers: LAYERS, config, folder });
    const filled = kept.fill();
    await reading.promise;
    // Read, being read, and not read yet.
    for (const number of [1, 3, 9]) kept.forget(KEYS[number]!);
    picture.reject(new Error('ENOENT'));
    await filled;
    expect(write).toHaveBeenCalledTimes(3 * (COUNT - 3));
    // A disk that is full could not take zeros where nothing was written.
    expect(zero).not.toHaveBeenCalled();
    vi.restoreAllMocks();
    const left = KEYS.map((_, i) => i).filter((i) => ![1, 3, 9].includes(i));
    for (const layer of LAYERS)
      for (const [i, row] of (await rowsOf(kept, layer, left)).entries())
        expect(row).toEqual(whole.get(layer)!.slice(left[i]! * ROW, (left[i]! + 1) * ROW));
    for (const number of [1, 3, 9]) expect(() => kept.tokens(KEYS[number]!)).toThrow('no activation is kept');
    kept.clear();
  });

  test('is zeroed while others are still computed, where it was', async () => {
    const reading = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    const image = records[0]!.record.image!;
    const many = Array.from({ length: 66 }, (_, i) => ({
      ...records[i % COUNT]!,
      key: `${String(i).padStart(8, '0')} key`,
    }));
    many[65]!.record = {
      ...many[65]!.record,
      image: async () => {
        reading.resolve();
        await go.promise;
        return image();
      },
    };
    const kept = new KeptActivations({ base, records: many, layers: LAYERS, config: configOf(), folder });
    const filled = kept.fill();
    await reading.promise;
    const zero = vi.spyOn(MemoryRows.prototype, 'zero');
    for (const number of [2, 64]) kept.forget(many[number]!.key);
    expect(zero.mock.calls.flat()).toEqual([2, 66 + 2, 2 * 66 + 2]);
    vi.restoreAllMocks();
    go.resolve();
    await filled;
    kept.clear();
  });

  test('is zeros on the disk, once it is forgotten', async () => {
    const rows = new DiskRows(folder, 8);
    for (const row of [0, 1, 2]) rows.write(row, Float32Array.of(row + 1, 7));
    rows.zero(1);
    const read = async (row: number) => {
      const target = new Float32Array(2);
      await rows.read(row, target);
      return [...target];
    };
    expect(await Promise.all([0, 1, 2].map(read))).toEqual([
      [1, 7],
      [0, 0],
      [3, 7],
    ]);
    await refused(read(3), 'store', 'is shorter');
    rows.close();
    // Another has the number of its file then.
    const next = new DiskRows(folder, 8);
    rows.close();
    next.write(0, Float32Array.of(5, 6));
    next.close();
    expect(() => new DiskRows(join(folder, 'none'), 8)).toThrow(/none.*kept-activations.*ENOENT/);
  });
});

test('pictures that vary are others in each epoch and stage, and the same ones again for the same draw', async () => {
  const config = configOf();
  config.training.augmentation = { flip: 0.5, randomResizedCrop: { area: [0.3, 0.6], ratio: 1.5 } };
  const kept = await KeptActivations.compute({ base, records, layers: LAYERS, config, folder });
  const drawn = async (draw: typeof DRAW | { key: readonly [number, number]; epoch: number }) => {
    const row = new Float32Array(ROW);
    await kept.prepare([KEYS[7]!, KEYS[3]!], 1, draw);
    kept.read(KEYS[3]!, 1, row);
    return row;
  };
  const first = await drawn(DRAW);
  expect(await drawn({ ...DRAW, epoch: 1 })).not.toEqual(first);
  expect(await drawn({ ...DRAW, key: [1, 3] })).not.toEqual(first);
  expect(first).not.toEqual(whole.get(1)!.slice(3 * ROW, 4 * ROW));
  expect(await drawn(DRAW)).toEqual(first);
  kept.clear();
});

test('is part of a stage only where it is rounded', () => {
  const settingOf = (keep?: KeepConfig) => stageSetting(configOf(keep), base);
  const plain = settingOf();
  expect(settingOf({ where: 'disk', bytes: 1000 })).toEqual(plain);
  expect(settingOf({ dtype: 'f32' })).toEqual(plain);
  expect(settingOf({ dtype: 'f16', where: 'disk' })).toEqual({ ...plain, activations: 'f16' });
  for (const [keep, problem] of [
    [{ where: 'tape' }, 'training.keep.where: must be memory or disk'],
    [{ dtype: 'f8' }, 'training.keep.dtype: must be f32 or f16'],
    [{ bytes: -1 }, 'training.keep.bytes: must be at least 0'],
    [{ byte: 1 }, 'training.keep.byte: there is no such field; did you mean bytes?'],
  ] as const)
    expect(() => configOf(keep as KeepConfig)).toThrow(`c.json: ${problem}`);
});
