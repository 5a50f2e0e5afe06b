// Against what the gguf package of llama.cpp reads from the same files: tools/reference/gguf.py.

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fileSource, memorySource } from '../checkpoint/byte-source.ts';
import type { GgufValue } from './gguf-header.ts';
import { type GgufStore, openGguf } from './gguf-store.ts';
import { llamaConfig } from './llama-names.ts';

const path = (name: string) =>
  fileURLToPath(new URL(`../../../../tools/reference/gguf/${name}`, import.meta.url));
const floats = async (name: string) => new Float32Array(Uint8Array.from(await readFile(path(name))).buffer);
/** As words: NaN and the sign of zero count. */
const words = (values: Float32Array) => new Uint32Array(values.buffer, values.byteOffset, values.length);

describe('openGguf', () => {
  let formats: GgufStore;
  let llama: GgufStore;
  beforeAll(async () => {
    formats = await openGguf(await fileSource(path('formats.gguf')));
    llama = await openGguf(await fileSource(path('llama.gguf')));
  });
  afterAll(async () => {
    await formats.close();
    await llama.close();
  });

  it('dequantises every format to the bits of the reference', async () => {
    const expected = await floats('formats.f32');
    const dtypes = new Set<string>();
    let at = 0;
    for (const name of formats.names()) {
      const values = await formats.read(name);
      const { shape, dtype } = formats.info(name);
      dtypes.add(dtype);
      expect(values.length).toBe(shape.reduce((a, b) => a * b, 1));
      expect(words(values), name).toEqual(words(expected.subarray(at, at + values.length)));
      at += values.length;
    }
    expect(at).toBe(expected.length);
    expect([...dtypes].sort()).toEqual(['BF16', 'F16', 'F32', 'Q4_0', 'Q4_1', 'Q8_0']);
    expect(formats.info('plain').shape).toEqual([3, 5]);
    expect(formats.info('Q4_0.wild').shape).toEqual([8, 128]);
  });

  it('reads metadata of every kind', () => {
    expect(Object.fromEntries(formats.metadata)).toMatchObject({
      'general.architecture': 'test',
      'test.bool': true,
      'test.u64': 2n ** 63n + 1n,
      'test.i64': -(2 ** 40),
      'test.i8': -3,
      'test.f64': 0.1,
      'test.text': 'grüße 🙂',
      'test.words': ['a', '', 'ß'],
      'test.numbers': [1, -2, 3],
    });
  });

  it('gives a Llama the names of transformers, and its queries and keys their rows', async () => {
    const names = JSON.parse(await readFile(path('llama.json'), 'utf8')) as string[];
    const expected = await floats('llama.f32');
    expect([...llama.names()]).toEqual(names);
    let at = 0;
    for (const name of names) {
      const values = await llama.read(name);
      expect(words(values), name).toEqual(words(expected.subarray(at, at + values.length)));
      at += values.length;
    }
    expect(at).toBe(expected.length);
  });

  it('makes a config.json of the metadata of a Llama', () => {
    expect(llamaConfig(llama.metadata, new Set(llama.names()), 'llama.gguf')).toEqual({
      model_type: 'llama',
      hidden_act: 'silu',
      hidden_size: 32,
      num_hidden_layers: 2,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      head_dim: 8,
      intermediate_size: 64,
      rms_norm_eps: Math.fround(1e-5),
      rope_theta: 50000,
      max_position_embeddings: 128,
      vocab_size: 24,
      tie_word_embeddings: true,
    });
    const without = new Map(llama.metadata);
    without.delete('llama.block_count');
    expect(() => llamaConfig(without, new Set(), 'llama.gguf')).toThrow(
      'llama.gguf: metadata llama.block_count must be a positive whole number',
    );
  });

  it.each<[string, GgufValue, string]>([
    ['llama.attention.sliding_window', 4096, 'metadata llama.attention.sliding_window is not known'],
    ['llama.logit_scale', 0.5, 'metadata llama.logit_scale is not known'],
    ['llama.attention.causal', false, 'metadata llama.attention.causal is not known'],
    ['llama.rope.scale_linear', 4, 'metadata llama.rope.scale_linear is not known'],
    ['llama.rope.scaling.factor', 4, 'metadata llama.rope.scaling.type must say'],
  ])('refuses what llama.cpp would compute with: %s', (key, value, problem) => {
    const { metadata } = llama;
    const config = (more: [string, GgufValue][]) =>
      llamaConfig(new Map([...metadata, ...more]), new Set(llama.names()), 'llama.gguf');
    expect(() => config([[key, value]])).toThrow(`llama.gguf: ${problem}`);
    expect(
      config([
        ['llama.expert_count', 0],
        ['llama.attention.causal', true],
      ]),
    ).toEqual(config([]));
  });

  it('refuses tensors of no Llama: biases among them, which llama.cpp adds', () => {
    for (const name of ['model.layers.0.self_attn.q_proj.bias', 'blk.1.attn_q_norm.weight', 'a\nb'])
      expect(() => llamaConfig(llama.metadata, new Set([...llama.names(), name]), 'llama.gguf')).toThrow(
        `llama.gguf: tensor ${name.replace('\n', ' ')} is not known: it may change what the model computes`,
      );
  });

  it('refuses heads that do not divide the rows', async () => {
    const bytes = Uint8Array.from(await readFile(path('llama.gguf')));
    const key = 'llama.attention.head_count_kv';
    const at = Buffer.from(bytes.buffer).indexOf(key) + key.length + 4;
    new DataView(bytes.buffer).setUint32(at, 3, true);
    await expect(openGguf(memorySource(bytes, 'x.gguf'))).rejects.toThrow(
      'x.gguf: tensor blk.0.attn_k.weight has 16 rows, not a multiple of twice its 3 heads',
    );
  });
});
