import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Device, scope, tensor } from '@s3t/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memorySource } from './checkpoint/byte-source.ts';
import { openSafetensors } from './checkpoint/safetensors-store.ts';
import type { TensorStore } from './checkpoint/tensor-store.ts';
import { type GgufStore, openGguf } from './gguf/gguf-store.ts';
import { llamaConfig } from './gguf/llama-names.ts';
import {
  decoderLayer,
  embedTokens,
  LLAMA_TARGETS,
  type LlamaConfig,
  type LlamaWeights,
  languageModelLogits,
  llamaParameters,
  loadLlama,
  nextTokens,
  parseLlamaConfig,
} from './llama.ts';
import { writeSafetensors } from './safetensors.ts';
import { sameBits } from './testing/tiny.ts';

const GOOD = {
  model_type: 'llama',
  hidden_size: 32,
  intermediate_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  vocab_size: 24,
  max_position_embeddings: 128,
};
const LLAMA_3 = {
  rope_type: 'llama3',
  factor: 8,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 8192,
};

describe('parseLlamaConfig', () => {
  const parse = (changes: Record<string, unknown>) =>
    parseLlamaConfig({ ...GOOD, ...changes }, 'config.json');

  it('fills in what transformers does where fields are missing or null', () => {
    expect(parse({ num_key_value_heads: null })).toEqual({
      ...GOOD,
      num_key_value_heads: 4,
      head_dim: 8,
      hidden_act: 'silu',
      rms_norm_eps: 1e-6,
      rope_theta: 10_000,
      rope_scaling: null,
      tie_word_embeddings: false,
      eos_token_id: [],
    });
    expect(parse({ eos_token_id: 2 }).eos_token_id).toEqual([2]);
    expect(parse({ eos_token_id: [7, 9] }).eos_token_id).toEqual([7, 9]);
  });

  it('reads scaled frequencies as transformers 4 and 5 write them', () => {
    const { rope_theta, rope_scaling } = parse({ rope_theta: 5e5, rope_scaling: LLAMA_3 });
    expect({ rope_theta, rope_scaling }).toEqual({ rope_theta: 5e5, rope_scaling: LLAMA_3 });
    expect(parse({ rope_parameters: { ...LLAMA_3, rope_theta: 5e5 } })).toMatchObject({
      rope_theta: 5e5,
      rope_scaling: LLAMA_3,
    });
    const linear = { rope_type: 'linear', factor: 2 };
    expect(parse({ rope_scaling: { type: 'linear', factor: 2 } }).rope_scaling).toEqual(linear);
    expect(parse({ rope_parameters: { rope_type: 'default', rope_theta: 7 } })).toMatchObject({
      rope_theta: 7,
      rope_scaling: null,
    });
  });

  it.each<[string, Record<string, unknown>, string]>([
    ['another model', { model_type: 'mistral' }, 'model_type is "mistral"; this reads "llama"'],
    ['no size', { hidden_size: undefined }, 'hidden_size must be a positive whole number, not undefined'],
    ['a size in words', { vocab_size: '24' }, 'vocab_size must be a positive whole number, not "24"'],
    ['no layers', { num_hidden_layers: 0 }, 'num_hidden_layers must be a positive whole number, not 0'],
    ['broken heads', { num_attention_heads: 3 }, 'head_dim must be a positive whole number, not 10.6'],
    [
      'heads that differ',
      { num_key_value_heads: 3 },
      'num_key_value_heads must divide the 4 of num_attention_heads',
    ],
    ['narrow heads', { head_dim: 12 }, 'head_dim must be a multiple of eight, not 12'],
    ['odd rows', { hidden_size: 30, head_dim: 8 }, 'hidden_size must be a multiple of four'],
    ['another activation', { hidden_act: 'gelu' }, 'hidden_act is "gelu"; only "silu" is known'],
    ['biases', { attention_bias: true }, 'attention_bias is true; only false is known'],
    ['biases of the MLP', { mlp_bias: true }, 'mlp_bias is true; only false is known'],
    ['dropout', { attention_dropout: 0.1 }, 'attention_dropout is 0.1; only 0 is known'],
    ['a window', { sliding_window: 4096 }, 'sliding_window is 4096; only null is known'],
    ['half the rotation', { partial_rotary_factor: 0.5 }, 'partial_rotary_factor is 0.5; only 1 is known'],
    ['rotated neighbours', { rope_interleaved: true }, 'rope_interleaved is true; only false is known'],
    [
      'packed weights',
      { quantization_config: { bits: 4 } },
      'quantization_config is {"bits":4}; only null is known',
    ],
    ['no epsilon', { rms_norm_eps: 0 }, 'rms_norm_eps must be a positive number, not 0'],
    ['a tie in words', { tie_word_embeddings: 'yes' }, 'tie_word_embeddings must be true or false'],
    [
      'an end in words',
      { eos_token_id: '</s>' },
      'eos_token_id must be the number of a token, or several, not "</s>"',
    ],
    ['no theta', { rope_theta: -1 }, 'rope_theta must be a positive number, not -1'],
    ['scaling in words', { rope_scaling: 'linear' }, 'rope_scaling must be an object or null'],
    [
      'unknown scaling',
      { rope_scaling: { type: 'yarn' } },
      'rope_scaling.rope_type is "yarn"; "default", "linear" and "llama3" are known',
    ],
    [
      'no factor',
      { rope_scaling: { rope_type: 'linear' } },
      'rope_scaling.factor must be a positive number, not undefined',
    ],
    [
      'scaling that lacks a field',
      { rope_parameters: { ...LLAMA_3, high_freq_factor: null } },
      'rope_parameters.high_freq_factor must be a positive number, not null',
    ],
    [
      'scaling the wrong way round',
      { rope_scaling: { ...LLAMA_3, low_freq_factor: 4 } },
      'rope_scaling.low_freq_factor must be below high_freq_factor',
    ],
  ])('refuses %s by the name of the field', (_, changes, message) => {
    expect(() => parse(changes)).toThrow(`config.json: field ${message}`);
  });
});

describe('nextTokens', () => {
  it('asks in every row for the tokens that count, at the place of the one before', () => {
    const ids = Uint32Array.of(5, 6, 7, 0, 8, 9, 1, 2);
    const { labels, weights } = nextTokens(ids, [1, 0, 1, 0, 1, 1, 1, 1], 4);
    expect([...labels]).toEqual([6, 7, 0, 0, 9, 1, 2, 0]);
    expect([...weights]).toEqual([0, 1, 0, 0, 1, 1, 1, 0]);
  });
});

interface Stored {
  shape: readonly number[];
  values: Float32Array;
}

describe('loadLlama', () => {
  const FILE = fileURLToPath(new URL('../../../tools/reference/gguf/llama.gguf', import.meta.url));
  let device: Device;
  let gguf: GgufStore;
  let config: LlamaConfig;
  beforeAll(async () => {
    device = await Device.open();
    gguf = await openGguf(memorySource(new Uint8Array(await readFile(FILE)), 'llama.gguf'));
    config = parseLlamaConfig(llamaConfig(gguf.metadata, new Set(gguf.names()), 'llama.gguf'), 'llama.gguf');
  });
  afterAll(() => device.close());

  /** The tensors of the GGUF file, or `change` of them, as safetensors. */
  async function converted(
    change: (name: string, values: Float32Array<ArrayBuffer>) => Float32Array<ArrayBuffer> | null = (
      _,
      own,
    ) => own,
    more: ReadonlyMap<string, Stored> = new Map(),
  ): Promise<TensorStore> {
    const entries = new Map(more);
    for (const name of gguf.names()) {
      const values = change(name, await gguf.read(name));
      if (values) entries.set(name, { shape: gguf.info(name).shape, values });
    }
    return openSafetensors(memorySource(writeSafetensors(entries), 'model.safetensors'));
  }

  async function logitsOf(weights: LlamaWeights): Promise<Float32Array<ArrayBuffer>> {
    const logits = scope(() => {
      let x = embedTokens(weights, tensor(device, Uint32Array.of(3, 14, 15, 9, 2, 6), [1, 6]));
      for (const layer of weights.layers) x = decoderLayer(config, layer, x);
      return languageModelLogits(config, weights, x);
    });
    return logits.read();
  }

  it('computes from a GGUF file what its tensors in safetensors give, bit for bit', async () => {
    const weights = await loadLlama(device, config, gguf);
    expect(weights.layers[0]!.rotations.shape).toEqual([128, 8]);
    expect(weights.head.weight).toBe(weights.embedding);
    const other = await loadLlama(device, config, await converted(), { positions: 6 });
    expect(sameBits(await logitsOf(weights), await logitsOf(other))).toBe(true);
  });

  it('rounds the linear layers, and nothing else, to the type that is asked for', async () => {
    const rounded = await loadLlama(device, config, gguf, { quantization: 'int8' });
    expect(rounded.embedding.dtype).toBe('f32');
    const values = new Map<string, Float32Array<ArrayBuffer>>();
    for (const [i, layer] of rounded.layers.entries())
      for (const { name, path } of LLAMA_TARGETS) {
        expect(layer[name].weight.dtype).toBe('int8');
        values.set(`model.layers.${i}.${path}.weight`, await layer[name].weight.read());
      }
    const same = await loadLlama(device, config, await converted((name, value) => values.get(name) ?? value));
    expect(same.layers[0]!.q_proj.weight.dtype).toBe('f32');
    expect(sameBits(await logitsOf(rounded), await logitsOf(same))).toBe(true);
  });

  it('names what a checkpoint lacks, or what cannot be', async () => {
    const load = async (store: TensorStore, changes: Partial<LlamaConfig> = {}, options = {}) =>
      loadLlama(device, { ...config, ...changes }, store, options);
    await expect(load(gguf, { tie_word_embeddings: false })).rejects.toThrow(
      'llama.gguf: there is no tensor lm_head.weight',
    );
    const norm = 'model.layers.1.post_attention_layernorm.weight';
    await expect(load(await converted((name, values) => (name === norm ? null : values)))).rejects.toThrow(
      `model.safetensors: there is no tensor ${norm}`,
    );
    await expect(load(gguf, { intermediate_size: 72 })).rejects.toThrow(
      'llama.gguf: tensor model.layers.0.mlp.gate_proj.weight has shape [64,32], config.json asks for [72,32]',
    );
    await expect(load(gguf, {}, { quantization: 'int4x64' })).rejects.toThrow(
      'llama.gguf: tensor model.layers.0.self_attn.q_proj.weight cannot be held as int4x64: ' +
        'quantise: the last axis of [32,32] is no multiple of the 64 of int4x64',
    );
    await expect(load(gguf, {}, { positions: 0 })).rejects.toThrow('positions 0 is not in 1..');
    const scaled = await converted(
      undefined,
      new Map([['rope_freqs.weight', { shape: [1], values: new Float32Array(1) }]]),
    );
    await expect(load(scaled)).rejects.toThrow(
      'model.safetensors: tensor rope_freqs.weight scales frequencies',
    );
  });

  it('refuses of a GGUF file what would be computed wrongly', () => {
    const read = (key: string, value: number | string) => {
      const scaled = new Map(gguf.metadata).set('llama.rope.scaling.factor', 4);
      const metadata = scaled.set('llama.rope.scaling.type', 'linear').set(key, value);
      return parseLlamaConfig(llamaConfig(metadata, new Set(gguf.names()), 'llama.gguf'), 'llama.gguf');
    };
    expect(read('llama.rope.scaling.type', 'linear').rope_scaling).toEqual({
      rope_type: 'linear',
      factor: 4,
    });
    expect(() => read('llama.rope.scaling.type', 'yarn')).toThrow(
      'llama.gguf: field rope_scaling.rope_type is "yarn"',
    );
    expect(() => read('llama.rope.dimension_count', 4)).toThrow('field partial_rotary_factor is 0.5');
  });

  it('asks for every tensor of a checkpoint, by its name there', () => {
    const asked = llamaParameters(config).map(({ name }) => `model.${name}`);
    expect(asked.toSorted()).toEqual([...gguf.names()].sort());
  });
});
