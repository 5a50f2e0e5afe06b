// What llama.cpp calls the tensors of a Llama, and the one change it makes to their values.

import { oneLine } from '../checkpoint/one-line.ts';
import { ModelError } from '../errors.ts';
import type { GgufMetadata } from './gguf-header.ts';

const LAYER_NAMES: Record<string, string> = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  ffn_norm: 'post_attention_layernorm',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
};
const NAMES: Record<string, string> = {
  token_embd: 'model.embed_tokens',
  output_norm: 'model.norm',
  output: 'lm_head',
};

/** The name in transformers of a tensor of a Llama; others (rope_freqs.weight) keep theirs. */
export function llamaName(name: string): string {
  const layer = /^blk\.(\d+)\.(\w+)\.(weight|bias)$/.exec(name);
  const [, number, part, kind] = layer ?? [];
  if (layer && Object.hasOwn(LAYER_NAMES, part!))
    return `model.layers.${Number(number)}.${LAYER_NAMES[part!]}.${kind}`;
  const [, whole, ending] = /^(\w+)\.(weight|bias)$/.exec(name) ?? [];
  return whole !== undefined && Object.hasOwn(NAMES, whole) ? `${NAMES[whole]}.${ending}` : name;
}

/** How many heads the rows of a query or key tensor belong to; null for any other tensor, whose rows stay. */
export function rotatedHeads(name: string, metadata: GgufMetadata, file: string): number | null {
  const [, part] = /^blk\.\d+\.attn_([qk])\.(?:weight|bias)$/.exec(name) ?? [];
  if (!part) return null;
  const queries = count(metadata, 'llama.attention.head_count', file);
  if (part === 'q' || !metadata.has('llama.attention.head_count_kv')) return queries;
  return count(metadata, 'llama.attention.head_count_kv', file);
}

/** @throws ModelError when a metadata key is missing or not a positive whole number */
export function count(metadata: GgufMetadata, key: string, file: string): number {
  const value = metadata.get(key);
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1)
    throw new ModelError(`${file}: metadata ${key} must be a positive whole number`);
  return value;
}

/**
 * Puts the rows of a query or key back in the order of transformers, in place. llama.cpp rotates neighbours, transformers the
 * two halves of a head: rows (half, i) of each head were stored as (i, half).
 * @param rowLength values of a row, 1 for a bias
 */
export function unrotate(values: Float32Array, heads: number, rowLength: number): void {
  const headLength = values.length / heads;
  const half = headLength / rowLength / 2;
  for (let head = 0; head < heads; head++) {
    const to = values.subarray(head * headLength, (head + 1) * headLength);
    const from = to.slice();
    for (let i = 0; i < 2 * half; i++) {
      const row = (i % 2) * half + (i >> 1);
      to.set(from.subarray(i * rowLength, (i + 1) * rowLength), row * rowLength);
    }
  }
}

/** What is read of the metadata that begins with "llama.", and what changes nothing that is computed. */
const KNOWN_KEYS = new Set([
  'attention.head_count',
  'attention.head_count_kv',
  'attention.key_length',
  'attention.layer_norm_rms_epsilon',
  // The shape of a tensor says the same.
  'attention.value_length',
  'block_count',
  'context_length',
  'embedding_length',
  'feed_forward_length',
  'rope.dimension_count',
  'rope.freq_base',
  'rope.scaling.factor',
  'rope.scaling.finetuned',
  'rope.scaling.original_context_length',
  'rope.scaling.type',
  'tensor_data_layout',
  'vocab_size',
]);

/** Fails for what a file says and nobody here reads: llama.cpp adds biases that are there, and scales what it is told to scale. */
function checkKnown(metadata: GgufMetadata, names: ReadonlySet<string>, file: string): void {
  const known = (what: string): never => {
    throw new ModelError(`${file}: ${oneLine(what)} is not known: it may change what the model computes`);
  };
  for (const [key, value] of metadata) {
    const [, own] = /^llama\.(.+)$/.exec(key) ?? [];
    const isOff = own === 'attention.causal' ? value === true : value === false || value === 0;
    if (own !== undefined && !KNOWN_KEYS.has(own) && !isOff) known(`metadata ${key}`);
  }
  const layer = new RegExp(`^model\\.layers\\.\\d+\\.(?:${Object.values(LAYER_NAMES).join('|')})\\.weight$`);
  const others = new Set([...Object.values(NAMES).map((name) => `${name}.weight`), 'rope_freqs.weight']);
  // Frequencies that the oldest files hold of each layer, and no reader uses.
  for (const name of names)
    if (!layer.test(name) && !others.has(name) && !/^blk\.\d+\.attn_rot_embd\./.test(name))
      known(`tensor ${name}`);
}

/**
 * The config.json that the metadata of a Llama amounts to.
 * @param names of the tensors, as in transformers
 * @throws ModelError naming the metadata key, or the tensor that belongs to no Llama
 */
export function llamaConfig(
  metadata: GgufMetadata,
  names: ReadonlySet<string>,
  file: string,
): Record<string, unknown> {
  const number = (key: string) => {
    const value = metadata.get(key);
    if (typeof value !== 'number') throw new ModelError(`${file}: metadata ${key} must be a number`);
    return value;
  };
  checkKnown(metadata, names, file);
  const tokens = metadata.get('tokenizer.ggml.tokens');
  const heads = count(metadata, 'llama.attention.head_count', file);
  const hidden = count(metadata, 'llama.embedding_length', file);
  const optional = (key: string, otherwise: number) => (metadata.has(key) ? number(key) : otherwise);
  const headWidth = optional('llama.attention.key_length', hidden / heads);
  const rotated = optional('llama.rope.dimension_count', headWidth);
  const id = (name: string, key: string) => (metadata.has(key) ? { [name]: number(key) } : {});
  return {
    model_type: 'llama',
    hidden_act: 'silu',
    hidden_size: hidden,
    num_hidden_layers: count(metadata, 'llama.block_count', file),
    num_attention_heads: heads,
    num_key_value_heads: optional('llama.attention.head_count_kv', heads),
    head_dim: headWidth,
    ...(rotated !== headWidth && { partial_rotary_factor: rotated / headWidth }),
    intermediate_size: count(metadata, 'llama.feed_forward_length', file),
    rms_norm_eps: number('llama.attention.layer_norm_rms_epsilon'),
    rope_theta: optional('llama.rope.freq_base', 10000),
    ...ropeScaling(metadata, file),
    max_position_embeddings: count(metadata, 'llama.context_length', file),
    vocab_size: Array.isArray(tokens) ? tokens.length : count(metadata, 'llama.vocab_size', file),
    tie_word_embeddings: !names.has('lm_head.weight'),
    ...id('bos_token_id', 'tokenizer.ggml.bos_token_id'),
    ...id('eos_token_id', 'tokenizer.ggml.eos_token_id'),
  };
}

/** Whatever a file says of scaled frequencies is passed on, in the words of transformers, to whoever knows what can be computed. */
function ropeScaling(metadata: GgufMetadata, file: string): Record<string, unknown> {
  const type = metadata.get('llama.rope.scaling.type');
  const factor = metadata.get('llama.rope.scaling.factor');
  // Without a type llama.cpp scales all the same.
  if (type === undefined && factor !== undefined && factor !== 1)
    throw new ModelError(
      `${file}: metadata llama.rope.scaling.type must say how llama.rope.scaling.factor is meant`,
    );
  if (type === undefined || type === 'none') return {};
  return { rope_scaling: { rope_type: type, factor } };
}
