// Where texts end that the model of a GGUF file continues, as the generation_config.json that it was converted from would say it.

import { ModelError } from '../errors.ts';
import type { GgufMetadata } from './gguf-header.ts';

/** The metadata keys of the tokens that end a text, a turn and a message. llama.cpp stops at each. */
const KEYS = ['eos_token_id', 'eot_token_id', 'eom_token_id'];
/** Most files have no keys for turns and messages: llama.cpp knows these tokens by their texts, in whatever file. */
const ENDS = new Set(['<|eot_id|>', '<|eom_id|>', '<|im_end|>', '<|end_of_text|>', '<|endoftext|>']);
/** ggml's type of tokens that are no text. */
const CONTROL = 3;

/**
 * The generation_config.json of a GGUF file with a tokenizer; null where it says no more than config.json does.
 * @param file what errors name
 * @throws ModelError naming the metadata key that is no token's number
 */
export function ggufGenerationConfig(metadata: GgufMetadata, file: string): Record<string, unknown> | null {
  const tokens = metadata.get('tokenizer.ggml.tokens') as readonly string[];
  const types = metadata.get('tokenizer.ggml.token_type') as readonly number[];
  const said = KEYS.map((key) => metadata.get(`tokenizer.ggml.${key}`));
  said.forEach((id, i) => {
    if (id !== undefined && (typeof id !== 'number' || tokens[id] === undefined))
      throw new ModelError(`${file}: metadata tokenizer.ggml.${KEYS[i]} must be the number of a token`);
  });
  const known = [...tokens.keys()].filter((id) => types[id] === CONTROL && ENDS.has(tokens[id]!));
  const ends = [...new Set([...said.filter((id) => id !== undefined), ...known])];
  return ends.some((id) => id !== said[0]) ? { eos_token_id: ends } : null;
}
