import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../checkpoint.ts';
import { ModelError } from '../errors.ts';
import { toFloat32, writeSafetensors } from '../safetensors.ts';
import { blobSource, fileSource, memorySource } from './byte-source.ts';
import { halfToNumber } from './number-formats.ts';
import { openTensors } from './open-tensors.ts';
import { openSafetensors } from './safetensors-store.ts';

type Bytes = Uint8Array<ArrayBuffer>;

/** A file of one tensor of any type. */
function fileOf(dtype: string, shape: number[], data: Bytes): Bytes {
  const header = { x: { dtype, shape, data_offsets: [0, data.length] } };
  // An odd length: data need not be aligned.
  const text = new TextEncoder().encode(JSON.stringify(header).padEnd(71));
  const bytes = new Uint8Array(8 + text.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(data, 8 + text.length);
  return bytes;
}

const everyHalf = new Uint8Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer);
const part = (values: number[]) => ({ shape: [values.length], values: Float32Array.from(values) });

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3t-tensors-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('openSafetensors', () => {
  const file = writeSafetensors(
    new Map([
      ['a', part([1, 2, 3])],
      ['b', part([])],
      ['c', part([-0, 5])],
    ]),
  );

  it.each(['memory', 'blob', 'file'])('reads tensor by tensor from a source in %s', async (kind) => {
    const path = join(folder, 'one.safetensors');
    await writeFile(path, file);
    const source =
      kind === 'memory'
        ? memorySource(file, path)
        : kind === 'blob'
          ? blobSource(new Blob([file]), path)
          : await fileSource(path);
    const store = await openSafetensors(source);
    expect([...store.names()]).toEqual(['a', 'b', 'c']);
    expect(store.info('a')).toEqual({ shape: [3], dtype: 'F32' });
    expect(store.fileOf('a')).toBe(path);
    expect(await store.read('c')).toEqual(Float32Array.of(-0, 5));
    expect(await store.read('a')).toEqual(Float32Array.of(1, 2, 3));
    expect(await store.read('b')).toEqual(new Float32Array(0));
    await expect(store.read('d')).rejects.toThrow(new ModelError(`${path}: there is no tensor d`));
    await store.close();
  });

  it('widens every f16 and every bf16 exactly', async () => {
    const half = await openSafetensors(memorySource(fileOf('F16', [65536], everyHalf), 'f'));
    expect(await half.read('x')).toEqual(Float32Array.from({ length: 65536 }, (_, i) => halfToNumber(i)));
    const brain = await openSafetensors(memorySource(fileOf('BF16', [256, 256], everyHalf), 'f'));
    const words = new Uint32Array((await brain.read('x')).buffer);
    expect(words).toEqual(Uint32Array.from({ length: 65536 }, (_, i) => i << 16));
    const parsed = toFloat32({ dtype: 'BF16', shape: [65536], bytes: everyHalf }, 'x', 'f');
    expect(new Uint32Array(parsed.buffer)).toEqual(words);
  });

  it('holds a tensor and a piece of it, never the file', async () => {
    const count = 2 ** 22;
    const inner = memorySource(fileOf('BF16', [count], new Uint8Array(2 * count)), 'f');
    const buffers = new Set<ArrayBuffer>();
    const store = await openSafetensors({
      ...inner,
      read(from, target) {
        buffers.add(target.buffer);
        return inner.read(from, target);
      },
    });
    const values = await store.read('x');
    const held = [...buffers].reduce((sum, { byteLength }) => sum + byteLength, values.byteLength);
    expect(values.length).toBe(count);
    expect(held).toBeLessThan(1.2 * values.byteLength);
  });

  it('refuses integers when they are read, not before', async () => {
    const store = await openSafetensors(memorySource(fileOf('I32', [1], new Uint8Array(4)), 'm.safetensors'));
    expect(store.info('x').dtype).toBe('I32');
    await expect(store.read('x')).rejects.toThrow(
      'm.safetensors: tensor x holds I32, not numbers this model can use',
    );
  });

  it('names a file that is shortened while it is open', async () => {
    const path = join(folder, 'short.safetensors');
    await writeFile(path, file);
    const store = await openTensors(path);
    await truncate(path, file.length - 4);
    await expect(store.read('c')).rejects.toThrow(`${path}: byte ${file.length - 1} is wanted, the file has`);
    await store.close();
  });

  it.each([0, 7, 8, 40, file.length - 1])('refuses a file cut to %i bytes', async (length) => {
    const failed = openSafetensors(memorySource(file.slice(0, length), 'cut.safetensors'));
    await expect(failed).rejects.toThrow(ModelError);
    await expect(failed).rejects.toThrow(/^cut\.safetensors: .+$/);
  });
});

describe('openTensors on shards', () => {
  let shards: string;
  const index = (map: unknown) =>
    writeFile(join(shards, 'model.safetensors.index.json'), JSON.stringify({ weight_map: map }));
  beforeAll(async () => {
    shards = join(folder, 'shards');
    await mkdir(shards);
    await writeFile(
      join(shards, '1.safetensors'),
      writeSafetensors(
        new Map([
          ['a', part([1])],
          ['b', part([2])],
        ]),
      ),
    );
    await writeFile(join(shards, '2.safetensors'), writeSafetensors(new Map([['c', part([3])]])));
    await writeFile(join(shards, 'config.json'), '{}');
    await writeFile(join(shards, 'preprocessor_config.json'), '{}');
  });
  const good = { a: '1.safetensors', c: '2.safetensors', b: '1.safetensors' };
  afterEach(() => index(good));

  it('joins them', async () => {
    await index(good);
    const store = await openTensors(shards);
    expect([...store.names()]).toEqual(['a', 'c', 'b']);
    expect(store.fileOf('c')).toBe(join(shards, '2.safetensors'));
    expect(await Promise.all(['a', 'b', 'c'].map((name) => store.read(name)))).toEqual(
      [1, 2, 3].map((value) => Float32Array.of(value)),
    );
    await store.close();
  });

  it('makes a checkpoint of them, whose digest covers every shard', async () => {
    await index(good);
    const before = await openCheckpoint(shards);
    expect(await before.tensors.read('c')).toEqual(Float32Array.of(3));
    await before.tensors.close();
    await writeFile(join(shards, '2.safetensors'), writeSafetensors(new Map([['c', part([4])]])));
    const after = await openCheckpoint(shards);
    await after.tensors.close();
    expect(after.digest).not.toBe(before.digest);
  });

  it.each([
    ['no map', undefined, 'field weight_map must map tensors to files'],
    ['a list as map', [], 'field weight_map must map tensors to files'],
    [
      'a file elsewhere',
      { ...good, a: '../1.safetensors' },
      'tensor a lies in "../1.safetensors", which is no',
    ],
    ['a number as file', { ...good, a: 3 }, 'tensor a lies in 3, which is no safetensors file'],
    [
      'a tensor that no shard holds',
      { ...good, d: '2.safetensors' },
      'tensor d should lie in 2.safetensors, which does not hold it',
    ],
    [
      'a tensor in the wrong shard',
      { ...good, a: '2.safetensors' },
      'tensor a should lie in 2.safetensors, but 1.safetensors holds',
    ],
    ['a tensor it does not name', { a: good.a, c: good.c }, 'tensor b of 1.safetensors is not in the index'],
  ])('refuses an index with %s', async (_title, map, problem) => {
    await index(map);
    await expect(openTensors(shards)).rejects.toThrow(
      `${join(shards, 'model.safetensors.index.json')}: ${problem}`,
    );
  });

  it('names a shard that is missing', async () => {
    await index({ ...good, z: '3.safetensors' });
    await expect(openTensors(shards)).rejects.toThrow(
      new ModelError(`${join(shards, '3.safetensors')}: there is no such file`),
    );
  });
});
