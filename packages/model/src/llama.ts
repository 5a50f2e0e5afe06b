// Llama 2 and 3 (Touvron et al. 2023, arXiv 2307.09288; Grattafiori et al. 2024, arXiv 2407.21783) with LoRA, as
// `transformers` computes it: token embeddings -> pre-norm decoder layers -> norm -> logits over the vocabulary. SmolLM2 is one.

import {
  attention,
  cachedAttention,
  cacheWrite,
  type Device,
  embedding,
  type FrozenType,
  type LinearOptions,
  linear,
  reshape,
  rmsNorm,
  rope,
  ropeTable,
  swiglu,
  type Tensor,
  vocabularyCrossEntropy,
} from '@s3t/engine';
import { adaptedLinear, type LayerAdapter, type LinearWeights } from './adapter.ts';
import { type Architecture, type Network, withMerged } from './architecture.ts';
import { type Parameter, type Placing, placeWeights } from './base-weights.ts';
import type { TensorStore } from './checkpoint/tensor-store.ts';
import { type ConfigFields, checkFields, type Fail, failIn } from './config-fields.ts';
import { ModelError } from './errors.ts';
import { parseRope, ROPE_FIELDS, type RopeScaling, ropeOptions } from './llama-rope.ts';

/** The fields of config.json that say what a Llama computes, by their names there. */
export interface LlamaConfig {
  hidden_size: number;
  intermediate_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  num_key_value_heads: number;
  head_dim: number;
  vocab_size: number;
  max_position_embeddings: number;
  hidden_act: 'silu';
  rms_norm_eps: number;
  rope_theta: number;
  rope_scaling: RopeScaling | null;
  tie_word_embeddings: boolean;
  /** The tokens that end a text. */
  eos_token_id: readonly number[];
}

export type LlamaTarget = 'q_proj' | 'k_proj' | 'v_proj' | 'o_proj' | 'gate_proj' | 'up_proj' | 'down_proj';

/** The linear layers of a decoder layer: their names as PEFT users write them, in the order of their use numbers. */
export const LLAMA_TARGETS: readonly {
  name: LlamaTarget;
  /** Within the layer, in the checkpoint. */
  path: string;
  inputs(config: LlamaConfig): number;
  outputs(config: LlamaConfig): number;
}[] = [
  { name: 'q_proj', path: 'self_attn.q_proj', inputs: hiddenWidth, outputs: queryWidth },
  { name: 'k_proj', path: 'self_attn.k_proj', inputs: hiddenWidth, outputs: keyValueWidth },
  { name: 'v_proj', path: 'self_attn.v_proj', inputs: hiddenWidth, outputs: keyValueWidth },
  { name: 'o_proj', path: 'self_attn.o_proj', inputs: queryWidth, outputs: hiddenWidth },
  { name: 'gate_proj', path: 'mlp.gate_proj', inputs: hiddenWidth, outputs: innerWidth },
  { name: 'up_proj', path: 'mlp.up_proj', inputs: hiddenWidth, outputs: innerWidth },
  { name: 'down_proj', path: 'mlp.down_proj', inputs: innerWidth, outputs: hiddenWidth },
];

function hiddenWidth({ hidden_size }: LlamaConfig): number {
  return hidden_size;
}
function innerWidth({ intermediate_size }: LlamaConfig): number {
  return intermediate_size;
}
function queryWidth({ num_attention_heads, head_dim }: LlamaConfig): number {
  return num_attention_heads * head_dim;
}
function keyValueWidth({ num_key_value_heads, head_dim }: LlamaConfig): number {
  return num_key_value_heads * head_dim;
}

export interface LlamaLayer extends Record<LlamaTarget, LinearWeights> {
  inputNorm: Tensor;
  postAttentionNorm: Tensor;
  /** Cosines and sines of the positions that a text may have, for `rope`. All layers share it. */
  rotations: Tensor;
}

export interface LlamaWeights {
  /** [vocabulary, hidden] */
  embedding: Tensor;
  layers: LlamaLayer[];
  norm: Tensor;
  /** The embedding's own tensor where the two are tied. */
  head: LinearWeights;
}

const REQUIRED = [
  'hidden_size',
  'intermediate_size',
  'num_hidden_layers',
  'num_attention_heads',
  'num_key_value_heads',
  'head_dim',
  'vocab_size',
  'max_position_embeddings',
] as const;

const FIELDS: ConfigFields = {
  read: [...REQUIRED, 'rms_norm_eps', 'tie_word_embeddings', 'eos_token_id', ...ROPE_FIELDS],
  // What SmolLM says of its own file.
  harmless: ['is_llama_config'],
  fixed: {
    hidden_act: 'silu',
    attention_bias: false,
    mlp_bias: false,
    attention_dropout: 0,
    pretraining_tp: 1,
    rope_interleaved: false,
    partial_rotary_factor: 1,
    sliding_window: null,
  },
};

/** Reads config.json of a Llama. @throws ModelError naming the field */
export function parseLlamaConfig(config: Record<string, unknown>, file: string): LlamaConfig {
  const fail = failIn(file);
  if (config.model_type !== 'llama')
    fail('model_type', `is ${JSON.stringify(config.model_type)}; this reads "llama"`);
  const { num_attention_heads: heads, hidden_size } = config as { [field: string]: number };
  const parsed = {
    ...config,
    hidden_act: 'silu',
    // As transformers does where the fields are missing.
    num_key_value_heads: config.num_key_value_heads ?? heads,
    head_dim: config.head_dim ?? hidden_size! / heads!,
    rms_norm_eps: config.rms_norm_eps ?? 1e-6,
    tie_word_embeddings: config.tie_word_embeddings ?? false,
    eos_token_id: parseEndTokens(config, fail),
    ...parseRope(config, fail),
  } as unknown as LlamaConfig;
  for (const field of REQUIRED)
    if (!Number.isInteger(parsed[field]) || parsed[field] < 1)
      fail(field, `must be a positive whole number, not ${JSON.stringify(parsed[field])}`);
  checkFields(config, FIELDS, fail);
  if (!Number.isFinite(parsed.rms_norm_eps) || parsed.rms_norm_eps <= 0)
    fail('rms_norm_eps', `must be a positive number, not ${JSON.stringify(config.rms_norm_eps)}`);
  if (typeof parsed.tie_word_embeddings !== 'boolean') fail('tie_word_embeddings', 'must be true or false');
  if (parsed.num_attention_heads % parsed.num_key_value_heads !== 0)
    fail('num_key_value_heads', `must divide the ${parsed.num_attention_heads} of num_attention_heads`);
  if (parsed.head_dim % 8 !== 0) fail('head_dim', `must be a multiple of eight, not ${parsed.head_dim}`);
  if (parsed.hidden_size % 4 !== 0) fail('hidden_size', 'must be a multiple of four');
  return parsed;
}

/** The eos_token_id of a config.json or generation_config.json: a number, a list, or none. */
function parseEndTokens({ eos_token_id: given }: Record<string, unknown>, fail: Fail): number[] {
  const ids = [given ?? []].flat() as number[];
  if (!ids.every((id) => Number.isInteger(id) && id >= 0))
    fail('eos_token_id', `must be the number of a token, or several, not ${JSON.stringify(given)}`);
  return ids;
}

/**
 * Where a text ends that a base continues. As for transformers what generation_config.json says goes before config.json: chat models
 * end their answers with a token of their own there. The token that ends the responses a stage learns is config.json's all the same,
 * which the base is known by; so a text ends with that, too.
 * @param generation content of generation_config.json, where there is one
 * @param file what errors name
 * @throws ModelError naming file and field
 */
export function endTokensOf(
  config: LlamaConfig,
  generation: Record<string, unknown> | undefined,
  file: string,
): readonly number[] {
  const own = parseEndTokens(generation ?? {}, failIn(file));
  return own.length > 0 ? [...new Set([...own, ...learntEnd(config)])] : config.eos_token_id;
}

/** The token that a response is learnt to end with, if there is one. */
export function learntEnd({ eos_token_id: ids }: LlamaConfig): readonly number[] {
  return ids.slice(0, 1);
}

/** What the names of a checkpoint with a head begin with; the head itself lies outside. */
export const LLAMA_PREFIX = 'model.';
const HEAD = 'lm_head.weight';

/**
 * The name and shape of every base weight, and where it goes.
 * @param dtype what the weights of linear layers are kept in. Default: f32
 */
export function llamaParameters(config: LlamaConfig, dtype?: FrozenType): Parameter[] {
  const { hidden_size: d, vocab_size } = config;
  const layers = Array.from({ length: config.num_hidden_layers }, (_, i) => [
    { name: `layers.${i}.input_layernorm.weight`, shape: [d] },
    ...LLAMA_TARGETS.map(({ path, inputs, outputs }) => ({
      name: `layers.${i}.${path}.weight`,
      shape: [outputs(config), inputs(config)],
      ...(dtype && { dtype }),
    })),
    { name: `layers.${i}.post_attention_layernorm.weight`, shape: [d] },
  ]);
  return [
    { name: 'embed_tokens.weight', shape: [vocab_size, d] },
    ...layers.flat(),
    { name: 'norm.weight', shape: [d] },
    ...(config.tie_word_embeddings ? [] : [{ name: HEAD, shape: [vocab_size, d], outside: true as const }]),
  ];
}

export interface LoadLlamaOptions extends Placing {
  /** What the weights of the layers' linear layers are rounded to. Embeddings, norms and head stay f32. Default: nothing. */
  quantization?: FrozenType;
  /** Tokens of the longest text. Default: max_position_embeddings. */
  positions?: number;
}

/** Puts the base weights of a checkpoint on a device, as constants. @throws ModelError naming file and tensor */
export async function loadLlama(
  device: Device,
  config: LlamaConfig,
  store: TensorStore,
  { quantization, positions = config.max_position_embeddings, ...placing }: LoadLlamaOptions = {},
): Promise<LlamaWeights> {
  if (store.has('rope_freqs.weight'))
    throw new ModelError(
      `${store.fileOf('rope_freqs.weight')}: tensor rope_freqs.weight scales frequencies in a way that is not known; ` +
        'use the safetensors of this model, whose config.json says how',
    );
  const rotations = ropeTable(device, { ...ropeOptions(config), positions });
  const parameters = llamaParameters(config, quantization);
  const weights = await placeWeights(device, store, parameters, LLAMA_PREFIX, placing).catch((error) => {
    rotations.dispose();
    throw error;
  });
  placing.owned?.add(rotations, (each) => each.dispose());
  return arrangeLlama(config, weights, rotations);
}

/**
 * Arranges weights, by the names of `llamaParameters`, as the model uses them.
 * @param rotations of `ropeTable`, for the positions of the longest text
 */
export function arrangeLlama(
  config: LlamaConfig,
  weights: ReadonlyMap<string, Tensor>,
  rotations: Tensor,
): LlamaWeights {
  const find = (name: string) => weights.get(`${name}.weight`)!;
  const unbiased = (weight: Tensor): LinearWeights => ({ weight, bias: null });
  return {
    embedding: find('embed_tokens'),
    layers: Array.from({ length: config.num_hidden_layers }, (_, i) => ({
      inputNorm: find(`layers.${i}.input_layernorm`),
      postAttentionNorm: find(`layers.${i}.post_attention_layernorm`),
      rotations,
      ...(Object.fromEntries(
        LLAMA_TARGETS.map(({ name, path }) => [name, unbiased(find(`layers.${i}.${path}`))]),
      ) as Record<LlamaTarget, LinearWeights>),
    })),
    norm: find('norm'),
    head: unbiased(config.tie_word_embeddings ? find('embed_tokens') : weights.get(HEAD)!),
  };
}

/** Token numbers, u32 [batch, tokens], to [batch, tokens, hidden]. */
export function embedTokens(weights: LlamaWeights, ids: Tensor): Tensor {
  return embedding(weights.embedding, ids);
}

/** The keys and values of the tokens that a layer has seen: [rows, capacity, keyValueHeads * head_dim] each. */
export interface LayerCache {
  keys: Tensor;
  values: Tensor;
  /** u32 [batch]: how many tokens are in it, for each row of the batch. */
  start: Tensor;
  /** u32 [batch]: which of its rows each row of the batch has. */
  rows: Tensor;
}

/**
 * One decoder layer: x + attention(norm(x)), then x + mlp(norm(x)). A token sees itself and those before it, so what fills
 * rows up behind their texts changes nothing.
 * @param x [batch, tokens, hidden], of positions from 0 on, or from `cache.start` on
 * @param cache what came before `x`; its keys and values are added to it
 */
export function decoderLayer(
  config: LlamaConfig,
  layer: LlamaLayer,
  x: Tensor,
  { adapter, cache }: { adapter?: LayerAdapter | undefined; cache?: LayerCache } = {},
): Tensor {
  const { num_attention_heads: heads, num_key_value_heads: keyValueHeads, rms_norm_eps: epsilon } = config;
  const project = (target: LlamaTarget, input: Tensor, after?: LinearOptions) =>
    adaptedLinear(layer[target], input, target, adapter, after);
  const normed = rmsNorm(x, layer.inputNorm, epsilon);
  const q = rope(project('q_proj', normed), layer.rotations, cache?.start);
  const k = rope(project('k_proj', normed), layer.rotations, cache?.start);
  const v = project('v_proj', normed);
  let attended: Tensor;
  if (cache) {
    cacheWrite(cache.keys, k, cache.start, cache.rows);
    cacheWrite(cache.values, v, cache.start, cache.rows);
    attended = cachedAttention(q, cache, cache.start, heads, keyValueHeads);
  } else attended = attention(q, k, v, heads, { keyValueHeads, causal: true });
  const middle = project('o_proj', attended, { residual: x });
  const again = rmsNorm(middle, layer.postAttentionNorm, epsilon);
  const inner = swiglu(project('gate_proj', again), project('up_proj', again));
  return project('down_proj', inner, { residual: middle });
}

/** What the top layer gives, [..., hidden], to logits [..., vocabulary] of the token that follows. */
export function languageModelLogits(config: LlamaConfig, weights: LlamaWeights, top: Tensor): Tensor {
  const { weight, bias } = weights.head;
  return linear(rmsNorm(top, weights.norm, config.rms_norm_eps), weight, bias);
}

/** What a language model is trained to say, [batch, tokens] row by row, for `languageModelLoss`. */
export interface NextTokens {
  labels: Uint32Array<ArrayBuffer>;
  weights: Float32Array<ArrayBuffer>;
}

/**
 * The token that follows each, and whether it counts: all of a text, or those of its response alone.
 * @param ids [batch, tokens] @param counts of the same shape: whether a token is one to be learnt; what fills rows up is not
 */
export function nextTokens(
  ids: Uint32Array,
  counts: ArrayLike<number | boolean>,
  tokens: number,
): NextTokens {
  const labels = new Uint32Array(ids.length);
  const weights = new Float32Array(ids.length);
  for (let i = 0; i + 1 < ids.length; i++) {
    if ((i + 1) % tokens === 0) continue;
    labels[i] = ids[i + 1]!;
    weights[i] = counts[i + 1] ? 1 : 0;
  }
  return { labels, weights };
}

/**
 * The mean cross-entropy of the tokens that follow, over those of weight 1, without ever holding all logits.
 * @param top what the top layer gives, [batch, tokens, hidden] @param labels u32 [batch, tokens] @param rowWeights [batch, tokens]
 * @returns shape [1]
 */
export function languageModelLoss(
  config: LlamaConfig,
  weights: LlamaWeights,
  top: Tensor,
  labels: Tensor,
  rowWeights: Tensor,
): Tensor {
  const hidden = rmsNorm(top, weights.norm, config.rms_norm_eps);
  const rows = labels.size;
  return vocabularyCrossEntropy(
    reshape(hidden, [rows, config.hidden_size]),
    weights.head.weight,
    reshape(labels, [rows]),
    reshape(rowWeights, [rows]),
  );
}

/** The shapes of a Llama that reads texts of `tokens` tokens. Its head is the base's own: stages have adapters alone. */
export function llamaArchitecture(config: LlamaConfig, tokens: number): Architecture {
  return {
    layers: config.num_hidden_layers,
    width: config.hidden_size,
    tokens,
    inputs: [{ name: 'ids', shape: [tokens], dtype: 'u32', carried: false, perToken: true }],
    targets: LLAMA_TARGETS.map(({ name, path, inputs, outputs }) => ({
      name,
      module: path,
      inputs: inputs(config),
      outputs: outputs(config),
    })),
    layerModule: (layer) => `${LLAMA_PREFIX}layers.${layer}`,
    headParameters: () => [],
  };
}

/** A Llama as training computes with it. */
export function llamaNetwork(config: LlamaConfig, weights: LlamaWeights, tokens: number): Network {
  return {
    architecture: llamaArchitecture(config, tokens),
    linearOf: (layer, target) => weights.layers[layer]![target as LlamaTarget],
    embed: ({ ids }) => embedTokens(weights, ids!),
    layer(index, x, { adapter, merged }) {
      const layer = withMerged(weights.layers[index]!, merged, (target) => target as LlamaTarget);
      return decoderLayer(config, layer, x, { adapter });
    },
    logits: (top) => languageModelLogits(config, weights, top),
    tokenLoss: (top, labels, rowWeights) => languageModelLoss(config, weights, top, labels, rowWeights),
  };
}
