import { createHash } from 'node:crypto';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ModelError } from '../errors.ts';
import { memorySource } from './byte-source.ts';
import { digestBeside, digestFiles, digestInThread } from './digest.ts';
import { streamTensor, tensorStore } from './tensor-store.ts';

describe('a tensor of several pieces', () => {
  // Three pieces of a MiB and a bit, behind bytes of something else: f32 is read as it is, bf16 is widened.
  const COUNT = 3 * 2 ** 19 + 5;
  const numbers = Float32Array.from({ length: COUNT }, (_, i) => (i % 251) - 100);
  const words = new Uint32Array(numbers.buffer);
  const files = {
    F32: new Uint8Array(numbers.buffer),
    BF16: new Uint8Array(Uint16Array.from(words, (word) => word >>> 16).buffer),
  };
  it.each(Object.keys(files) as (keyof typeof files)[])('of %s comes in order and whole', async (dtype) => {
    const content = files[dtype];
    const bytes = new Uint8Array(12 + content.length);
    bytes.set(content, 12);
    const range = { shape: [COUNT], dtype, from: 12, to: bytes.length };
    const store = tensorStore(memorySource(bytes, 'a.safetensors'), new Map([['w', range]]));
    const streamed = new Float32Array(COUNT);
    const starts: number[] = [];
    await streamTensor(store, 'w', (values, at) => {
      starts.push(at);
      streamed.set(values, at);
    });
    expect(starts.length).toBeGreaterThan(2);
    expect(starts).toEqual(starts.toSorted((a, b) => a - b));
    expect(Buffer.from(streamed.buffer).equals(Buffer.from(numbers.buffer))).toBe(true);
    expect(Buffer.from((await store.read('w')).buffer).equals(Buffer.from(numbers.buffer))).toBe(true);
  });

  it('is no longer read once a piece is refused, and errors of a source come through', async () => {
    let reads = 0;
    const source = {
      ...memorySource(files.F32, 'a.safetensors'),
      read: async (from: number, _: Uint8Array) => {
        reads++;
        if (from >= 2 ** 20) throw new Error('the disk is gone');
      },
    };
    const store = tensorStore(
      source,
      new Map([['w', { shape: [COUNT], dtype: 'F32', from: 0, to: COUNT * 4 }]]),
    );
    const refuse = streamTensor(store, 'w', () => {
      throw new Error('no room');
    });
    await expect(refuse).rejects.toThrow('no room');
    // Those that were under way with the first.
    expect(reads).toBe(3);
    await expect(streamTensor(store, 'w', () => {})).rejects.toThrow('the disk is gone');
  });
});

it('the digest of files is that of their digests, whatever number of pieces they have', async () => {
  const folder = await mkdtemp(join(tmpdir(), 's3t-digest-'));
  const sha = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();
  const contents = [0, 5, 2 ** 20, 2 ** 21 + 3].map((size) => new Uint8Array(size).map((_, i) => i % 249));
  const names = contents.map((_, i) => `file-${i}`);
  for (const [i, content] of contents.entries()) await writeFile(join(folder, names[i]!), content);
  const expected = sha(Buffer.concat(contents.map(sha))).toString('hex');
  expect(await digestFiles(folder, names)).toBe(expected);
  expect(await digestBeside(folder, names)).toBe(expected);
  // With so large a file, of zeros that lie nowhere, a thread does it.
  await truncate(join(folder, names[1]!), 2 ** 26);
  const digest = await digestFiles(folder, names);
  expect(digest).not.toBe(expected);
  expect(await digestInThread(folder, names)).toEqual({ digest });
  await expect(digestBeside(folder, [...names, 'none'])).rejects.toThrow(
    new ModelError(`${join(folder, 'none')}: there is no such file`),
  );
  await rm(folder, { recursive: true });
});
