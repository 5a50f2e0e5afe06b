// BERT (Devlin et al. 2018, arXiv 1810.04805) and RoBERTa (Liu et al. 2019, arXiv 1907.11692) with LoRA, as `transformers`
// computes them: words, positions and token types -> norm -> post-norm encoder layers -> a head on the first token.
// They differ in the number of a text's first position, in the head, and in what their names begin with.

import {
  add,
  attention,
  type Device,
  type FrozenType,
  gatherRows,
  geluTanh,
  type LinearOptions,
  layerNorm,
  linear,
  relu,
  reshape,
  slice,
  type Tensor,
  tanh,
  where,
} from '@s3t/engine';
import { adaptedLinear, type LayerAdapter, type LinearWeights } from './adapter.ts';
import { type Architecture, type Head, type Network, type NormWeights, withMerged } from './architecture.ts';
import { type Parameter, type Placing, placeWeights } from './base-weights.ts';
import type { TensorStore } from './checkpoint/tensor-store.ts';
import { type ConfigFields, checkFields, failIn } from './config-fields.ts';

const MODEL_TYPES = ['bert', 'roberta', 'xlm-roberta'] as const;

/** The activations by their names in config.json. GELU is computed in the launch of the product before it. */
const ACTIVATIONS: Record<
  'gelu' | 'gelu_new' | 'gelu_pytorch_tanh' | 'relu',
  'gelu' | ((x: Tensor) => Tensor)
> = {
  gelu: 'gelu',
  gelu_new: geluTanh,
  gelu_pytorch_tanh: geluTanh,
  relu,
};

/** The fields of config.json that say what a BERT or a RoBERTa computes, by their names there. */
export interface BertConfig {
  model_type: (typeof MODEL_TYPES)[number];
  hidden_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  intermediate_size: number;
  hidden_act: keyof typeof ACTIVATIONS;
  layer_norm_eps: number;
  vocab_size: number;
  max_position_embeddings: number;
  type_vocab_size: number;
  pad_token_id: number;
}

/**
 * The linear layers of an encoder layer, in the order of their use numbers: the name that a configuration gives, where it lies
 * within the layer, and the fields of config.json that hold its widths. A name means one layer. (A list of PEFT's
 * target_modules is compared with the ends of paths: there "output.dense" means "attention.output.dense" too.)
 */
const BERT_TARGETS = [
  { name: 'query', path: 'attention.self.query', inputs: 'hidden_size', outputs: 'hidden_size' },
  { name: 'key', path: 'attention.self.key', inputs: 'hidden_size', outputs: 'hidden_size' },
  { name: 'value', path: 'attention.self.value', inputs: 'hidden_size', outputs: 'hidden_size' },
  {
    name: 'attention.output.dense',
    path: 'attention.output.dense',
    inputs: 'hidden_size',
    outputs: 'hidden_size',
  },
  {
    name: 'intermediate.dense',
    path: 'intermediate.dense',
    inputs: 'hidden_size',
    outputs: 'intermediate_size',
  },
  { name: 'output.dense', path: 'output.dense', inputs: 'intermediate_size', outputs: 'hidden_size' },
] as const;
export type BertTarget = (typeof BERT_TARGETS)[number]['name'];

/** The linear layers by target, and the norms. */
export type BertLayer = Record<BertTarget, LinearWeights> &
  Record<'attentionNorm' | 'outputNorm', NormWeights>;

export interface BertWeights {
  words: Tensor;
  positions: Tensor;
  tokenTypes: Tensor;
  norm: NormWeights;
  layers: BertLayer[];
  /** BERT's alone: a RoBERTa's head has its own. */
  pooler?: LinearWeights;
}

/** Texts on a device, each tensor u32 [batch, tokens], padded on the right. */
export interface TextTensors {
  ids: Tensor;
  /** 1 for a token, 0 for padding. */
  mask: Tensor;
  /** 0 in the first text of a pair, 1 in the second. Default: 0 everywhere. */
  typeIds?: Tensor;
}

const REQUIRED = [
  'hidden_size',
  'num_hidden_layers',
  'num_attention_heads',
  'intermediate_size',
  'vocab_size',
  'max_position_embeddings',
] as const;

const FIELDS: ConfigFields = {
  read: [
    ...REQUIRED,
    'hidden_act',
    'layer_norm_eps',
    'type_vocab_size',
    'pad_token_id',
    'position_embedding_type',
  ],
  harmless: [
    // The base is frozen and runs as in inference, and so does the head: the only dropout is that of the adapters.
    'hidden_dropout_prob',
    'attention_probs_dropout_prob',
    'classifier_dropout',
    // Of the head that says masked words.
    'tie_word_embeddings',
    // What the first BERTs said of their pooler; no version of transformers reads it.
    'directionality',
    'pooler_fc_size',
    'pooler_num_attention_heads',
    'pooler_num_fc_layers',
    'pooler_size_per_head',
    'pooler_type',
  ],
  fixed: {},
};

/**
 * Reads config.json of a BERT, a RoBERTa or an XLM-RoBERTa. Its dropout rates are not used: see FIELDS.
 * @throws ModelError naming the field
 */
export function parseBertConfig(config: Record<string, unknown>, file: string): BertConfig {
  const fail = failIn(file);
  const isOneOf = (names: readonly string[], value: unknown) => names.includes(value as string);
  const listed = (names: readonly string[]) => names.map((name) => `"${name}"`).join(', ');
  const { model_type } = config;
  if (!isOneOf(MODEL_TYPES, model_type))
    fail('model_type', `is ${JSON.stringify(model_type)}; this reads ${listed(MODEL_TYPES)}`);
  const {
    hidden_act = 'gelu',
    layer_norm_eps = 1e-12,
    type_vocab_size = 2,
    pad_token_id = model_type === 'bert' ? 0 : 1,
    position_embedding_type = 'absolute',
  } = config;
  const parsed = { ...config, hidden_act, layer_norm_eps, type_vocab_size, pad_token_id } as Record<
    string,
    unknown
  >;
  for (const field of [...REQUIRED, 'type_vocab_size'])
    if (!Number.isInteger(parsed[field]) || (parsed[field] as number) < 1)
      fail(field, `must be a positive whole number, not ${JSON.stringify(parsed[field])}`);
  const known = Object.keys(ACTIVATIONS);
  if (!isOneOf(known, hidden_act))
    fail('hidden_act', `is ${JSON.stringify(hidden_act)}; known are ${listed(known)}`);
  if (!Number.isFinite(layer_norm_eps) || (layer_norm_eps as number) <= 0)
    fail('layer_norm_eps', `must be a positive number, not ${JSON.stringify(layer_norm_eps)}`);
  if (position_embedding_type !== 'absolute')
    fail(
      'position_embedding_type',
      `is ${JSON.stringify(position_embedding_type)}; only "absolute" is known`,
    );
  checkFields(config, FIELDS, fail);
  const bert = parsed as unknown as BertConfig;
  if (!Number.isInteger(pad_token_id) || bert.pad_token_id < 0 || bert.pad_token_id >= bert.vocab_size)
    fail('pad_token_id', `must be the number of a token, not ${JSON.stringify(pad_token_id)}`);
  if (maxTokens(bert) < 1)
    fail('max_position_embeddings', `must be more than pad_token_id + 1, which is ${bert.pad_token_id + 1}`);
  if (bert.hidden_size % (4 * bert.num_attention_heads) !== 0)
    fail('hidden_size', 'must be a multiple of four times num_attention_heads');
  return bert;
}

const isBert = ({ model_type }: BertConfig) => model_type === 'bert';

/** The row of a text's first position. In a RoBERTa the rows up to the number of the padding token are no token's. */
const firstPosition = (config: BertConfig) => (isBert(config) ? 0 : config.pad_token_id + 1);

/** How many tokens a text may have, special ones included. */
export function maxTokens(config: BertConfig): number {
  return config.max_position_embeddings - firstPosition(config);
}

/** What the names of a checkpoint with a head begin with. */
export const bertPrefix = (config: BertConfig): string => (isBert(config) ? 'bert.' : 'roberta.');

/** The parameters of a linear layer. */
const pair = (name: string, rows: number, columns: number, dtype?: FrozenType): Parameter[] => [
  { name: `${name}.weight`, shape: [rows, columns], ...(dtype && { dtype }) },
  { name: `${name}.bias`, shape: [rows] },
];

/**
 * The name and shape of every base weight, and where it goes.
 * @param dtype what the weights of the layers' linear layers are kept in; a pooler stays f32. Default: f32
 */
export function bertParameters(config: BertConfig, dtype?: FrozenType): Parameter[] {
  const d = config.hidden_size;
  const table = (name: string, rows: number) => ({ name: `embeddings.${name}.weight`, shape: [rows, d] });
  const norm = (name: string) => [
    { name: `${name}.LayerNorm.weight`, shape: [d], formerly: `${name}.LayerNorm.gamma` },
    { name: `${name}.LayerNorm.bias`, shape: [d], formerly: `${name}.LayerNorm.beta` },
  ];
  const layers = Array.from({ length: config.num_hidden_layers }, (_, i) => {
    const layer = `encoder.layer.${i}`;
    return [
      ...BERT_TARGETS.flatMap(({ path, inputs, outputs }) =>
        pair(`${layer}.${path}`, config[outputs], config[inputs], dtype),
      ),
      ...norm(`${layer}.attention.output`),
      ...norm(`${layer}.output`),
    ];
  });
  return [
    table('word_embeddings', config.vocab_size),
    table('position_embeddings', config.max_position_embeddings),
    table('token_type_embeddings', config.type_vocab_size),
    ...norm('embeddings'),
    ...layers.flat(),
    ...(isBert(config) ? pair('pooler.dense', d, d) : []),
  ];
}

/** The name and shape of every parameter of the head, which each stage owns. A head of one label predicts a number. */
export function headParameters(config: BertConfig, labels: number): Parameter[] {
  const d = config.hidden_size;
  return isBert(config)
    ? pair('classifier', labels, d)
    : [...pair('classifier.dense', d, d), ...pair('classifier.out_proj', labels, d)];
}

type Find = (name: string) => Tensor;
const pairOf = (find: Find, name: string) => ({ weight: find(`${name}.weight`), bias: find(`${name}.bias`) });

/** Arranges weights, found by name, as the model uses them. */
function arrangeBert(config: BertConfig, find: Find): BertWeights {
  const table = (name: string) => find(`embeddings.${name}_embeddings.weight`);
  return {
    words: table('word'),
    positions: table('position'),
    tokenTypes: table('token_type'),
    norm: pairOf(find, 'embeddings.LayerNorm'),
    layers: Array.from({ length: config.num_hidden_layers }, (_, i) => {
      const layer = `encoder.layer.${i}`;
      const denses = BERT_TARGETS.map(({ name, path }) => [name, pairOf(find, `${layer}.${path}`)]);
      return {
        ...(Object.fromEntries(denses) as Record<BertTarget, LinearWeights>),
        attentionNorm: pairOf(find, `${layer}.attention.output.LayerNorm`),
        outputNorm: pairOf(find, `${layer}.output.LayerNorm`),
      };
    }),
    ...(isBert(config) && { pooler: pairOf(find, 'pooler.dense') }),
  };
}

/**
 * Puts the base weights of a checkpoint on a device, as constants.
 * @param quantization what the weights of the layers' linear layers are rounded to. Default: nothing
 * @throws ModelError naming file and tensor
 */
export async function loadBert(
  device: Device,
  config: BertConfig,
  store: TensorStore,
  quantization?: FrozenType,
  placing?: Placing,
): Promise<BertWeights> {
  const weights = await placeWeights(
    device,
    store,
    bertParameters(config, quantization),
    bertPrefix(config),
    placing,
  );
  return arrangeBert(config, (name) => weights.get(name)!);
}

/**
 * Texts to what enters layer 0. Positions are numbered as the mask tells; `transformers` numbers a RoBERTa's by which ids are
 * not `pad_token_id`, which is the same unless a text itself holds the padding token.
 * @returns [batch, tokens, hidden]
 */
export function embed(config: BertConfig, weights: BertWeights, { ids, mask, typeIds }: TextTensors): Tensor {
  const [batch, tokens] = ids.shape as [number, number];
  const words = gatherRows(weights.words, ids);
  const types = typeIds ? gatherRows(weights.tokenTypes, typeIds) : slice(weights.tokenTypes, 0, 0, 1);
  const counted = slice(weights.positions, 0, firstPosition(config), tokens);
  const positions = isBert(config)
    ? counted
    : where(reshape(mask, [batch, tokens, 1]), counted, slice(weights.positions, 0, config.pad_token_id, 1));
  const sum = add(add(words, types), positions);
  return layerNorm(sum, weights.norm.weight, weights.norm.bias, config.layer_norm_eps);
}

export interface BertLayerOptions {
  adapter?: LayerAdapter | undefined;
  /** u32 [batch, tokens]: no token sees one whose mask is 0. Default: every token is seen. */
  mask?: Tensor;
  /** Compute the first token's row alone: all that the head reads of the top layer. */
  onlyFirstToken?: boolean;
}

/**
 * One encoder layer: norm(x + attention(x)), then norm(x + mlp(x)).
 * @returns [batch, tokens, hidden], or [batch, 1, hidden] with `onlyFirstToken`
 */
export function encoderLayer(
  config: BertConfig,
  layer: BertLayer,
  x: Tensor,
  { adapter, mask, onlyFirstToken = false }: BertLayerOptions = {},
): Tensor {
  const dense = (target: BertTarget, input: Tensor, after?: LinearOptions) =>
    adaptedLinear(layer[target], input, target, adapter, after);
  const norm = ({ weight, bias }: NormWeights, sum: Tensor) =>
    layerNorm(sum, weight, bias, config.layer_norm_eps);
  const rows = onlyFirstToken ? slice(x, 1, 0, 1) : x;
  const heads = config.num_attention_heads;
  const attended = attention(dense('query', rows), dense('key', x), dense('value', x), heads, { mask });
  const middle = norm(layer.attentionNorm, dense('attention.output.dense', attended, { residual: rows }));
  const activation = ACTIVATIONS[config.hidden_act];
  const inner =
    activation === 'gelu'
      ? dense('intermediate.dense', middle, { activation })
      : activation(dense('intermediate.dense', middle));
  return norm(layer.outputNorm, dense('output.dense', inner, { residual: middle }));
}

/**
 * The first token's row of the top layer's output [batch, tokens, hidden], through a dense layer with tanh (BERT's pooler, which
 * is part of the base; a RoBERTa's own, which is part of the head) and a linear one.
 * @param head by the names of `headParameters`
 * @returns logits [batch, labels]
 */
export function classify(config: BertConfig, weights: BertWeights, top: Tensor, head: Head): Tensor {
  const [batch, , width] = top.shape as [number, number, number];
  const token = reshape(slice(top, 1, 0, 1), [batch, width]);
  const ofHead = (name: string) => pairOf((found) => head[found]!, name);
  const [dense, out] = isBert(config)
    ? [weights.pooler!, ofHead('classifier')]
    : [ofHead('classifier.dense'), ofHead('classifier.out_proj')];
  return linear(tanh(linear(token, dense.weight, dense.bias)), out.weight, out.bias);
}

/** The shapes of a BERT or RoBERTa with a head that reads texts of `tokens` tokens. */
export function bertArchitecture(config: BertConfig, tokens: number): Architecture {
  const field = (name: string, carried: boolean) => ({
    name,
    shape: [tokens],
    dtype: 'u32' as const,
    carried,
    perToken: true,
  });
  return {
    layers: config.num_hidden_layers,
    width: config.hidden_size,
    tokens,
    inputs: [field('ids', false), field('typeIds', false), field('mask', true)],
    targets: BERT_TARGETS.map(({ name, path, inputs, outputs }) => ({
      name,
      module: path,
      inputs: config[inputs],
      outputs: config[outputs],
    })),
    layerModule: (layer) => `${bertPrefix(config)}encoder.layer.${layer}`,
    headParameters: (outputs) => headParameters(config, outputs),
  };
}

/** A BERT or RoBERTa as training and the ensemble compute with it. */
export function bertNetwork(config: BertConfig, weights: BertWeights, tokens: number): Network {
  const architecture = bertArchitecture(config, tokens);
  return {
    architecture,
    linearOf: (layer, target) => weights.layers[layer]![target as BertTarget],
    embed: ({ ids, mask, typeIds }) => embed(config, weights, { ids: ids!, mask: mask!, typeIds: typeIds! }),
    layer(index, x, { inputs: { mask }, adapter, merged }) {
      const layer = withMerged(weights.layers[index]!, merged, (target) => target as BertTarget);
      const onlyFirstToken = index === architecture.layers - 1;
      return encoderLayer(config, layer, x, { adapter, mask: mask!, onlyFirstToken });
    },
    logits: (top, head) => classify(config, weights, top, head),
  };
}
