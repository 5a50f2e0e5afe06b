import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Device } from '@s3t/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bertParameters, headParameters, loadBert, maxTokens, parseBertConfig } from './bert.ts';
import { memorySource } from './checkpoint/byte-source.ts';
import { openTensors, readJson } from './checkpoint/open-tensors.ts';
import { openSafetensors } from './checkpoint/safetensors-store.ts';
import type { TensorStore } from './checkpoint/tensor-store.ts';
import { ModelError } from './errors.ts';
import { writeSafetensors } from './safetensors.ts';
import { sameBits } from './testing/tiny.ts';

const SMALL = {
  hidden_size: 16,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  intermediate_size: 32,
  hidden_act: 'gelu',
  layer_norm_eps: 1e-5,
  vocab_size: 50,
  max_position_embeddings: 20,
  type_vocab_size: 1,
  pad_token_id: 1,
};

describe('parseBertConfig', () => {
  const valid = { model_type: 'roberta', ...SMALL };
  const parse = (change: Record<string, unknown>) =>
    parseBertConfig({ ...valid, ...change }, 'base/config.json');

  it('reads the fields by their names, with the defaults of transformers', () => {
    const { hidden_act: _, layer_norm_eps: __, type_vocab_size: ___, pad_token_id: ____, ...least } = valid;
    const defaults = { ...SMALL, layer_norm_eps: 1e-12, type_vocab_size: 2 };
    expect(parseBertConfig(least, 'config.json')).toMatchObject({ ...defaults, pad_token_id: 1 });
    const bert = parseBertConfig({ ...least, model_type: 'bert' }, 'config.json');
    expect(bert).toMatchObject({ ...defaults, pad_token_id: 0 });
  });

  it('leaves a RoBERTa the positions after its padding token', () => {
    expect(maxTokens(parse({}))).toBe(18);
    expect(maxTokens(parse({ model_type: 'xlm-roberta', pad_token_id: 3 }))).toBe(16);
    expect(maxTokens(parse({ model_type: 'bert' }))).toBe(20);
  });

  it('takes what published configurations say of training and labels', () => {
    const published = {
      architectures: ['RobertaForMaskedLM'],
      attention_probs_dropout_prob: 0.1,
      hidden_dropout_prob: 0.1,
      classifier_dropout: null,
      position_embedding_type: 'absolute',
      is_decoder: false,
      add_cross_attention: false,
      pruned_heads: {},
      id2label: { 0: 'a' },
      bos_token_id: 0,
      use_cache: true,
    };
    expect(parse(published)).toMatchObject(SMALL);
  });

  it.each([
    ['model_type', undefined],
    ['model_type', 'vit'],
    ['model_type', 'distilbert'],
    ['model_type', ['bert']],
    ...[
      'hidden_size',
      'num_hidden_layers',
      'num_attention_heads',
      'intermediate_size',
      'vocab_size',
      'max_position_embeddings',
    ].flatMap((field): [string, unknown][] =>
      [undefined, null, 0, -1, 2.5, '8', [8]].map((value) => [field, value]),
    ),
    ['type_vocab_size', 0],
    ['type_vocab_size', null],
    ['hidden_act', 'swish'],
    ['hidden_act', 'toString'],
    ['hidden_act', null],
    ['hidden_act', ['gelu']],
    ['layer_norm_eps', 0],
    ['layer_norm_eps', '1e-6'],
    ['layer_norm_eps', null],
    ['pad_token_id', null],
    ['pad_token_id', -1],
    ['pad_token_id', 0.5],
    ['pad_token_id', 50],
    ['position_embedding_type', 'relative_key'],
    ['position_embedding_type', null],
    ['is_decoder', true],
    ['add_cross_attention', true],
    ['quantization_config', { load_in_8bit: true }],
    ['pruned_heads', { 1: [0] }],
    // No position is left for a text.
    ['max_position_embeddings', 2],
    // Rows of a head are read four values at a time.
    ['hidden_size', 20],
    ['num_attention_heads', 3],
  ] as [string, unknown][])('refuses %s %j by name', (field, value) => {
    expect(() => parse({ [field]: value })).toThrow(ModelError);
    const named = field === 'num_attention_heads' && value === 3 ? 'hidden_size' : field;
    expect(() => parse({ [field]: value })).toThrow(`base/config.json: field ${named} `);
  });
});

describe.each(['bert', 'roberta'])('the weights of %s', (name) => {
  const folder = fileURLToPath(new URL(`../../../tools/reference/${name}`, import.meta.url));
  let device: Device;
  let store: TensorStore;
  let config: ReturnType<typeof parseBertConfig>;
  beforeAll(async () => {
    device = await Device.open();
    store = await openTensors(folder);
    config = parseBertConfig(await readJson(join(folder, 'config.json')), 'config.json');
  });
  afterAll(async () => {
    await store.close();
    device.close();
  });

  /** The checkpoint with other names or shapes; null leaves a tensor out. */
  async function changed(
    change: (name: string, shape: readonly number[]) => [string, readonly number[]] | null,
  ): Promise<TensorStore> {
    const entries = new Map<string, { shape: readonly number[]; values: Float32Array<ArrayBuffer> }>();
    for (const own of store.names()) {
      const [as, shape] = change(own, store.info(own).shape) ?? [];
      if (as && shape) entries.set(as, { shape, values: await store.read(own) });
    }
    return openSafetensors(memorySource(writeSafetensors(entries), 'changed.safetensors'));
  }

  it('are all that the checkpoint holds', () => {
    const own = bertParameters(config).map((parameter) => `${name}.${parameter.name}`);
    const head = headParameters(config, 5).map((parameter) => parameter.name);
    expect([...own, ...head].sort()).toEqual([...store.names()].sort());
  });

  it('are found without the prefix, and by the names of older checkpoints', async () => {
    const older = await changed((own, shape) => [
      own
        .slice(own.startsWith(`${name}.`) ? name.length + 1 : 0)
        .replace('LayerNorm.weight', 'LayerNorm.gamma')
        .replace('LayerNorm.bias', 'LayerNorm.beta'),
      shape,
    ]);
    expect(older.has('encoder.layer.3.output.LayerNorm.beta')).toBe(true);
    const { layers, norm, words } = await loadBert(device, config, older);
    for (const [found, of] of [
      [words, 'embeddings.word_embeddings.weight'],
      [norm.weight, 'embeddings.LayerNorm.weight'],
      [layers[3]!.outputNorm.bias, 'encoder.layer.3.output.LayerNorm.bias'],
      [layers[0]!.attentionNorm.weight, 'encoder.layer.0.attention.output.LayerNorm.weight'],
      [layers[1]!['output.dense'].weight, 'encoder.layer.1.output.dense.weight'],
    ] as const)
      expect(sameBits(await found.read(), await store.read(`${name}.${of}`))).toBe(true);
  });

  it('are refused by name when one is missing or of another shape', async () => {
    const last = `${name}.encoder.layer.3.output.LayerNorm.bias`;
    const missing = await changed((own, shape) => (own === last ? null : [own, shape]));
    await expect(loadBert(device, config, missing)).rejects.toThrow(
      new ModelError(`changed.safetensors: there is no tensor ${last}`),
    );
    const types = `${name}.embeddings.token_type_embeddings.weight`;
    const { type_vocab_size: rows } = config;
    const other = await changed((own, shape) => [own, own === types ? [32, rows] : shape]);
    await expect(loadBert(device, config, other)).rejects.toThrow(
      new ModelError(
        `changed.safetensors: tensor ${types} has shape [32,${rows}], config.json asks for [${rows},32]`,
      ),
    );
  });
});
