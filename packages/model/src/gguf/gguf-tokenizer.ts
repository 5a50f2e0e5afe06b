// A byte-level BPE out of the metadata of a GGUF file, as the tokenizer.json that it was converted from would say it.

import { ModelError } from '../errors.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import type { GgufMetadata } from './gguf-header.ts';

/** ggml's types of tokens that are found in a text before it is split: control and user-defined. */
const [CONTROL, USER_DEFINED] = [3, 4];

const byteLevel = (use_regex: boolean) => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex,
});
const inTurn = (...pretokenizers: object[]) => ({ type: 'Sequence', pretokenizers });

/** How Llama 3 splits a text, from its tokenizer.json. */
const LLAMA_3 = String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;

interface Splitting {
  pre_tokenizer: object;
  /** Whether a word of the vocabulary is taken whole, whatever the merges say. */
  ignore_merges: boolean;
  /** Whether texts begin with the first token where the file does not say. */
  begins: boolean;
}

/** By llama.cpp's names. */
const SPLITTINGS = new Map<unknown, Splitting>([
  ['gpt-2', { pre_tokenizer: byteLevel(true), ignore_merges: false, begins: false }],
  [
    'smollm',
    {
      pre_tokenizer: inTurn({ type: 'Digits', individual_digits: true }, byteLevel(true)),
      ignore_merges: false,
      begins: false,
    },
  ],
  [
    'llama-bpe',
    {
      pre_tokenizer: inTurn(
        { type: 'Split', pattern: { Regex: LLAMA_3 }, behavior: 'Isolated', invert: false },
        byteLevel(false),
      ),
      ignore_merges: true,
      begins: true,
    },
  ],
]);

/**
 * The tokenizer of a GGUF file.
 * @param file what errors name
 * @throws ModelError naming the metadata key that is missing, or that asks for another kind of tokenizer
 */
export function ggufTokenizer(metadata: GgufMetadata, file: string): Tokenizer {
  return new Tokenizer(ggufTokenizerJson(metadata, file), {}, file);
}

/** The metadata keys of the special tokens that a chat template may name. */
const SPECIAL: Record<string, string> = {
  bos_token: 'bos_token_id',
  eos_token: 'eos_token_id',
  unk_token: 'unknown_token_id',
  pad_token: 'padding_token_id',
};

/** The tokenizer_config.json of a GGUF file: its chat template, if it has one, and the tokens that this may name. */
export function ggufTokenizerConfig(metadata: GgufMetadata): Record<string, unknown> {
  const template = metadata.get('tokenizer.chat_template');
  if (typeof template !== 'string') return {};
  const tokens = metadata.get('tokenizer.ggml.tokens') as readonly string[];
  const named = Object.entries(SPECIAL).map(([name, key]) => {
    const id = metadata.get(`tokenizer.ggml.${key}`);
    return [name, typeof id === 'number' ? tokens[id] : undefined] as const;
  });
  return {
    ...Object.fromEntries(named.filter(([, token]) => token !== undefined)),
    chat_template: template,
  };
}

/** The tokenizer.json of a GGUF file. @throws ModelError as `ggufTokenizer` does */
export function ggufTokenizerJson(metadata: GgufMetadata, file: string): Record<string, unknown> {
  const fail = (key: string, problem: string): never => {
    throw new ModelError(`${file}: metadata tokenizer.ggml.${key} ${problem}`);
  };
  const get = (key: string) => metadata.get(`tokenizer.ggml.${key}`);
  const texts = (key: string): string[] => {
    const list = get(key);
    if (!Array.isArray(list) || !list.every((text) => typeof text === 'string'))
      fail(key, 'must be a list of texts');
    return list as string[];
  };
  if (get('model') !== 'gpt2')
    fail('model', `is ${say(get('model'))}; only "gpt2" (byte-level BPE) is known`);
  const splitting = SPLITTINGS.get(get('pre'));
  if (!splitting) return fail('pre', `is ${say(get('pre'))}; known are ${[...SPLITTINGS.keys()].join(', ')}`);
  const tokens = texts('tokens');
  const types = get('token_type');
  if (!Array.isArray(types) || types.length !== tokens.length)
    return fail('token_type', `must hold ${tokens.length} numbers`);
  const { pre_tokenizer, ignore_merges, begins } = splitting;
  const first = get('bos_token_id');
  // llama.cpp would end every prompt, too, and its own programs refuse to go on after an end.
  const isEnded = get('add_eos_token') ?? false;
  if (isEnded !== false)
    fail('add_eos_token', `is ${isEnded}; only false is known: a prompt would end before its answer`);
  const isBegun = get('add_bos_token') ?? begins;
  if (isBegun && (typeof first !== 'number' || tokens[first] === undefined))
    fail('bos_token_id', 'must be the number of a token');
  return {
    added_tokens: tokens.flatMap((content, id) =>
      types[id] === CONTROL || types[id] === USER_DEFINED
        ? [
            {
              id,
              content,
              special: types[id] === CONTROL,
              single_word: false,
              lstrip: false,
              rstrip: false,
              normalized: false,
            },
          ]
        : [],
    ),
    normalizer: null,
    pre_tokenizer,
    post_processor: isBegun ? beginWith(tokens[first as number]!, first as number) : null,
    decoder: byteLevel(true),
    model: {
      type: 'BPE',
      ignore_merges,
      // Without a prototype even __proto__ is a token like any other.
      vocab: Object.assign(Object.create(null), Object.fromEntries(tokens.map((token, id) => [token, id]))),
      merges: texts('merges'),
    },
  };
}

function beginWith(token: string, id: number): object {
  const special = { SpecialToken: { id: token, type_id: 0 } };
  const text = (name: string) => ({ Sequence: { id: name, type_id: 0 } });
  return {
    type: 'TemplateProcessing',
    single: [special, text('A')],
    pair: [special, text('A'), text('B')],
    special_tokens: { [token]: { id: token, ids: [id], tokens: [token] } },
  };
}

function say(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 50)) : 'no text';
}
