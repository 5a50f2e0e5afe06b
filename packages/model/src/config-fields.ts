// Which fields of a checkpoint's config.json are known. A field that nobody here knows may change what the model computes, so
// it is refused by name instead of ignored.

import { ModelError } from './errors.ts';

/** What an architecture knows of config.json, by field. */
export interface ConfigFields {
  /** Those that say what is computed. */
  read: readonly string[];
  /** Those that change no value of a frozen base, besides what every architecture has of them. */
  harmless: readonly string[];
  /** Those that would change what is computed, and the one value that is computed here. Missing or null is that value, too. */
  fixed: Readonly<Record<string, unknown>>;
}

/** Reports a field of config.json that is not as it must be. */
export type Fail = (field: string, problem: string) => never;

/** @returns what throws a ModelError naming file and field */
export function failIn(file: string): Fail {
  return (field, problem) => {
    throw new ModelError(`${file}: field ${field} ${problem}`);
  };
}

/** Where a configuration comes from, what its numbers are stored in, and what its outputs are called. */
const METADATA = [
  'model_type',
  '_name_or_path',
  '_commit_hash',
  'architectures',
  'transformers_version',
  'transformers.js_config',
  'torch_dtype',
  'dtype',
  'tokenizer_class',
  'id2label',
  'label2id',
  'num_labels',
  '_num_labels',
  'problem_type',
  'finetuning_task',
  'task_specific_params',
];

/** How the layers' results are handed over or computed in pieces, not what they are. */
const EXECUTION = [
  'use_cache',
  'output_past',
  'output_attentions',
  'output_hidden_states',
  'return_dict',
  'use_return_dict',
  'torchscript',
  'use_bfloat16',
  'gradient_checkpointing',
  'chunk_size_feed_forward',
  'tf_legacy_loss',
  'attn_implementation',
  '_attn_implementation',
  '_attn_implementation_autoset',
];

/** How weights that are not in the checkpoint begin. */
const INITIALISATION = ['initializer_range', 'initializer_factor'];

/** What older versions of transformers wrote of text generation into every configuration. */
const GENERATION = [
  'bos_token_id',
  'eos_token_id',
  'pad_token_id',
  'sep_token_id',
  'cls_token_id',
  'mask_token_id',
  'unk_token_id',
  'decoder_start_token_id',
  'forced_bos_token_id',
  'forced_eos_token_id',
  'prefix',
  'max_length',
  'min_length',
  'do_sample',
  'early_stopping',
  'num_beams',
  'num_beam_groups',
  'diversity_penalty',
  'temperature',
  'top_k',
  'top_p',
  'typical_p',
  'repetition_penalty',
  'length_penalty',
  'no_repeat_ngram_size',
  'encoder_no_repeat_ngram_size',
  'bad_words_ids',
  'num_return_sequences',
  'output_scores',
  'return_dict_in_generate',
  'remove_invalid_values',
  'exponential_decay_length_penalty',
  'suppress_tokens',
  'begin_suppress_tokens',
];

const HARMLESS = [...METADATA, ...EXECUTION, ...INITIALISATION, ...GENERATION];

/** Of every architecture. */
const FIXED: Readonly<Record<string, unknown>> = {
  is_decoder: false,
  is_encoder_decoder: false,
  add_cross_attention: false,
  cross_attention_hidden_size: null,
  tie_encoder_decoder: false,
  pruned_heads: {},
  quantization_config: null,
  auto_map: null,
};

/** More than any model has. Whoever believed a file that says more would fill memory with the names of its tensors. */
const MOST_LAYERS = 10_000;

/**
 * Holds the fields of a config.json against those that an architecture knows.
 * @throws ModelError, by `fail`, for a field that is not known and for one whose value is not computed here
 */
export function checkFields(config: Record<string, unknown>, known: ConfigFields, fail: Fail): void {
  // What an architecture says of a field goes before what all have in common: a Llama that is a decoder is none of the less one.
  const fixed = new Map(Object.entries({ ...FIXED, ...known.fixed }));
  const harmless = new Set([...HARMLESS, ...known.harmless, ...known.read]);
  const layers = config.num_hidden_layers as number;
  if (layers > MOST_LAYERS) fail('num_hidden_layers', `is ${layers}; at most ${MOST_LAYERS} are known`);
  for (const [field, value] of Object.entries(config)) {
    if (fixed.has(field)) {
      const only = fixed.get(field);
      if (value != null && JSON.stringify(value) !== JSON.stringify(only))
        fail(field, `is ${JSON.stringify(value)}; only ${JSON.stringify(only)} is known`);
    } else if (!harmless.has(field))
      fail(field, `is not known: it may change what the model computes (${JSON.stringify(value)})`);
  }
}
