// The Vision Transformer (Dosovitskiy et al. 2020, arXiv 2010.11929) with LoRA, as `transformers` computes it:
// patches -> class token and positions -> pre-norm encoder layers -> norm -> classifier on the class token.

import {
  add,
  attention,
  concat,
  type Device,
  expand,
  type FrozenType,
  type LinearOptions,
  layerNorm,
  linear,
  permute,
  reshape,
  slice,
  type Tensor,
} from '@s3t/engine';
import { adaptedLinear, type LayerAdapter, type LinearWeights } from './adapter.ts';
import { type Architecture, type Network, type NormWeights, withMerged } from './architecture.ts';
import { type Parameter, type Placing, placeWeights } from './base-weights.ts';
import type { TensorStore } from './checkpoint/tensor-store.ts';
import { type ConfigFields, checkFields, failIn } from './config-fields.ts';

/** The fields of config.json that say what a ViT computes, by their names there. */
export interface VitConfig {
  hidden_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  intermediate_size: number;
  hidden_act: 'gelu';
  layer_norm_eps: number;
  image_size: number;
  patch_size: number;
  num_channels: number;
  qkv_bias: boolean;
}

export interface VitLayer {
  normBefore: NormWeights;
  query: LinearWeights;
  key: LinearWeights;
  value: LinearWeights;
  attentionOutput: LinearWeights;
  normAfter: NormWeights;
  intermediate: LinearWeights;
  output: LinearWeights;
}

export interface VitWeights {
  classToken: Tensor;
  positions: Tensor;
  patches: LinearWeights;
  layers: VitLayer[];
  norm: NormWeights;
}

const REQUIRED = [
  'hidden_size',
  'num_hidden_layers',
  'num_attention_heads',
  'intermediate_size',
  'image_size',
  'patch_size',
  'num_channels',
] as const;

const FIELDS: ConfigFields = {
  read: [...REQUIRED, 'hidden_act', 'layer_norm_eps', 'qkv_bias'],
  // The pooler and the decoder of masked pictures are no part of a classifier; nothing is tied.
  harmless: ['encoder_stride', 'pooler_act', 'pooler_output_size', 'tie_word_embeddings'],
  // A frozen base is not trained with dropout, and not every ViT was published without.
  fixed: { hidden_dropout_prob: 0, attention_probs_dropout_prob: 0 },
};

/** Reads config.json of a ViT. @throws ModelError naming the field */
export function parseVitConfig(config: Record<string, unknown>, file: string): VitConfig {
  const fail = failIn(file);
  if (config.model_type !== 'vit')
    fail('model_type', `is ${JSON.stringify(config.model_type)}; this reads "vit"`);
  for (const field of REQUIRED)
    if (!Number.isInteger(config[field]) || (config[field] as number) < 1)
      fail(field, `must be a positive whole number, not ${JSON.stringify(config[field])}`);
  if (config.num_channels !== 1 && config.num_channels !== 3)
    fail('num_channels', `is ${config.num_channels}; pictures are grey (1) or colour (3)`);
  const { hidden_act = 'gelu', layer_norm_eps = 1e-12, qkv_bias = true } = config;
  if (hidden_act !== 'gelu') fail('hidden_act', `is ${JSON.stringify(hidden_act)}; only "gelu" is known`);
  if (!Number.isFinite(layer_norm_eps) || (layer_norm_eps as number) <= 0)
    fail('layer_norm_eps', `must be a positive number, not ${JSON.stringify(layer_norm_eps)}`);
  if (qkv_bias !== true) fail('qkv_bias', 'must be true');
  checkFields(config, FIELDS, fail);
  const parsed = { ...config, hidden_act, layer_norm_eps, qkv_bias } as unknown as VitConfig;
  if (parsed.image_size % parsed.patch_size !== 0) fail('image_size', 'must be a multiple of patch_size');
  if (parsed.hidden_size % (4 * parsed.num_attention_heads) !== 0)
    fail('hidden_size', 'must be a multiple of four times num_attention_heads');
  return parsed;
}

/** Patches and the class token. */
export function tokenCount({ image_size, patch_size }: VitConfig): number {
  return (image_size / patch_size) ** 2 + 1;
}

/** What the names of a checkpoint with a head begin with. */
export const VIT_PREFIX = 'vit.';

/**
 * The name and shape of every base weight, and where it goes.
 * @param dtype what the weights of the layers' linear layers are kept in. Default: f32
 */
export function vitParameters(config: VitConfig, dtype?: FrozenType): Parameter[] {
  const { hidden_size: d, intermediate_size: inner, num_channels: channels, patch_size: patch } = config;
  const named = (name: string, shape: number[]) => ({ name, shape });
  const pair = (name: string, rows: number, columns: number) => [
    { ...named(`${name}.weight`, [rows, columns]), ...(dtype && { dtype }) },
    named(`${name}.bias`, [rows]),
  ];
  const norm = (name: string) => [named(`${name}.weight`, [d]), named(`${name}.bias`, [d])];
  const layers = Array.from({ length: config.num_hidden_layers }, (_, i) => {
    const layer = `encoder.layer.${i}`;
    return [
      ...norm(`${layer}.layernorm_before`),
      ...pair(`${layer}.attention.attention.query`, d, d),
      ...pair(`${layer}.attention.attention.key`, d, d),
      ...pair(`${layer}.attention.attention.value`, d, d),
      ...pair(`${layer}.attention.output.dense`, d, d),
      ...norm(`${layer}.layernorm_after`),
      ...pair(`${layer}.intermediate.dense`, inner, d),
      ...pair(`${layer}.output.dense`, d, inner),
    ];
  });
  return [
    named('embeddings.cls_token', [1, 1, d]),
    named('embeddings.position_embeddings', [1, tokenCount(config), d]),
    named('embeddings.patch_embeddings.projection.weight', [d, channels, patch, patch]),
    named('embeddings.patch_embeddings.projection.bias', [d]),
    ...layers.flat(),
    ...norm('layernorm'),
  ];
}

/** Arranges weights, found by name, as the model uses them. */
export function arrangeVit(config: VitConfig, find: (name: string) => Tensor): VitWeights {
  const pair = (name: string) => ({ weight: find(`${name}.weight`), bias: find(`${name}.bias`) });
  const projection = 'embeddings.patch_embeddings.projection';
  const weight = find(`${projection}.weight`);
  return {
    classToken: find('embeddings.cls_token'),
    positions: find('embeddings.position_embeddings'),
    patches: { weight, bias: find(`${projection}.bias`) },
    layers: Array.from({ length: config.num_hidden_layers }, (_, i) => {
      const layer = `encoder.layer.${i}`;
      return {
        normBefore: pair(`${layer}.layernorm_before`),
        query: pair(`${layer}.attention.attention.query`),
        key: pair(`${layer}.attention.attention.key`),
        value: pair(`${layer}.attention.attention.value`),
        attentionOutput: pair(`${layer}.attention.output.dense`),
        normAfter: pair(`${layer}.layernorm_after`),
        intermediate: pair(`${layer}.intermediate.dense`),
        output: pair(`${layer}.output.dense`),
      };
    }),
    norm: pair('layernorm'),
  };
}

/**
 * Puts the base weights of a checkpoint on a device, as constants.
 * @param quantization what the weights of the layers' linear layers are rounded to. Default: nothing
 * @throws ModelError naming file and tensor
 */
export async function loadVit(
  device: Device,
  config: VitConfig,
  store: TensorStore,
  quantization?: FrozenType,
  placing?: Placing,
): Promise<VitWeights> {
  const weights = await placeWeights(device, store, vitParameters(config, quantization), VIT_PREFIX, placing);
  return arrangeVit(config, (name) => weights.get(name)!);
}

/** Pictures [batch, channels, height, width] to tokens [batch, 1 + patches, hidden]. */
export function embed(config: VitConfig, weights: VitWeights, pictures: Tensor): Tensor {
  const { patch_size: p, num_channels: c, hidden_size: d } = config;
  const [batch, , height, width] = pictures.shape as [number, number, number, number];
  const [rows, columns] = [height / p, width / p];
  const cut = permute(reshape(pictures, [batch, c, rows, p, columns, p]), [0, 2, 4, 1, 3, 5]);
  const flat = reshape(cut, [batch, rows * columns, c * p * p]);
  const patches = linear(flat, reshape(weights.patches.weight, [d, c * p * p]), weights.patches.bias);
  const tokens = concat([expand(weights.classToken, [batch, 1, d]), patches], 1);
  return add(tokens, weights.positions);
}

/** The linear layers of a block by their names in the checkpoint, in the order in which they are computed, and where they lie here. */
const TARGETS = {
  query: { module: 'attention.attention.query', key: 'query' },
  key: { module: 'attention.attention.key', key: 'key' },
  value: { module: 'attention.attention.value', key: 'value' },
  'attention.output.dense': { module: 'attention.output.dense', key: 'attentionOutput' },
  'intermediate.dense': { module: 'intermediate.dense', key: 'intermediate' },
  'output.dense': { module: 'output.dense', key: 'output' },
} as const;

type LinearName = (typeof TARGETS)[keyof typeof TARGETS]['key'];

const keyOf = (target: string): LinearName => TARGETS[target as keyof typeof TARGETS].key;

/**
 * One encoder layer: x + attention(norm(x)), then x + mlp(norm(x)).
 * @param onlyClassToken compute the class token's row alone: all that the classifier reads of the top layer
 * @returns [batch, tokens, hidden], or [batch, 1, hidden] with `onlyClassToken`
 */
export function encoderLayer(
  config: VitConfig,
  layer: VitLayer,
  x: Tensor,
  { adapter, onlyClassToken = false }: { adapter?: LayerAdapter | undefined; onlyClassToken?: boolean } = {},
): Tensor {
  const { layer_norm_eps: eps } = config;
  const project = (target: keyof typeof TARGETS, input: Tensor, after?: LinearOptions) =>
    adaptedLinear(layer[keyOf(target)], input, target, adapter, after);
  const normed = layerNorm(x, layer.normBefore.weight, layer.normBefore.bias, eps);
  const classRow = (t: Tensor) => (onlyClassToken ? slice(t, 1, 0, 1) : t);
  const attended = attention(
    project('query', classRow(normed)),
    project('key', normed),
    project('value', normed),
    config.num_attention_heads,
  );
  const middle = project('attention.output.dense', attended, { residual: classRow(x) });
  const again = layerNorm(middle, layer.normAfter.weight, layer.normAfter.bias, eps);
  const inner = project('intermediate.dense', again, { activation: 'gelu' });
  return project('output.dense', inner, { residual: middle });
}

/** The class token's row of the top layer's output [batch, 1, hidden] to logits [batch, labels]. */
export function classify(config: VitConfig, weights: VitWeights, top: Tensor, head: LinearWeights): Tensor {
  const [batch, , width] = top.shape as [number, number, number];
  const token = reshape(slice(top, 1, 0, 1), [batch, width]);
  const normed = layerNorm(token, weights.norm.weight, weights.norm.bias, config.layer_norm_eps);
  return linear(normed, head.weight, head.bias);
}

/** The shapes of a ViT with a classifier. */
export function vitArchitecture(config: VitConfig): Architecture {
  const { hidden_size: width, intermediate_size: inner, image_size: side, num_channels } = config;
  const sizes = { inputs: width, outputs: width };
  const sizesOf = {
    intermediate: { inputs: width, outputs: inner },
    output: { inputs: inner, outputs: width },
  };
  return {
    layers: config.num_hidden_layers,
    width,
    tokens: tokenCount(config),
    inputs: [{ name: 'pixels', shape: [num_channels, side, side], dtype: 'f32', carried: false }],
    targets: Object.entries(TARGETS).map(([name, { module, key }]) => ({
      name,
      module,
      ...sizes,
      ...sizesOf[key as keyof typeof sizesOf],
    })),
    layerModule: (layer) => `${VIT_PREFIX}encoder.layer.${layer}`,
    headParameters: (outputs) => [
      { name: 'classifier.weight', shape: [outputs, width] },
      { name: 'classifier.bias', shape: [outputs] },
    ],
  };
}

/** A ViT as training and the ensemble compute with it. */
export function vitNetwork(config: VitConfig, weights: VitWeights): Network {
  const architecture = vitArchitecture(config);
  return {
    architecture,
    linearOf: (layer, target) => weights.layers[layer]![keyOf(target)],
    embed: ({ pixels }) => embed(config, weights, pixels!),
    layer(index, x, { adapter, merged }) {
      const layer = withMerged(weights.layers[index]!, merged, keyOf);
      return encoderLayer(config, layer, x, { adapter, onlyClassToken: index === architecture.layers - 1 });
    },
    logits: (top, head) =>
      classify(config, weights, top, { weight: head['classifier.weight']!, bias: head['classifier.bias']! }),
  };
}
