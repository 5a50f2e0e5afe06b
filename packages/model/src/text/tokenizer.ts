import { ModelError } from '../errors.ts';
import { AddedTokens } from './tokens/added-tokens.ts';
import { createDecoder, type Decode } from './tokens/decoders.ts';
import { createModel, type Model, type ModelRules } from './tokens/model.ts';
import { createNormalizer, type Normalize, type Rules } from './tokens/normalizers.ts';
import { createPostProcessor, type PostProcess } from './tokens/post-processors.ts';
import { createPreTokenizer, type PreTokenize } from './tokens/pre-tokenizers.ts';
import { type Strategy, truncate } from './truncate.ts';

/** A text, or two that are read as one: premise and hypothesis. */
export type TextInput = string | readonly [first: string, second: string];

export interface EncodeOptions {
  /** Tokens at most, special ones included. Default: no limit. */
  maxLength?: number;
  /** Which text of a pair loses tokens. Default: the longer one. */
  truncation?: Strategy;
  /** Whether the tokens of the post-processor go round the text. Default: yes. */
  specialTokens?: boolean;
}

export interface BatchOptions extends EncodeOptions {
  /** Every row is filled up to this: rows of one shape are captured once. */
  length: number;
  /** What fills a row up. */
  padId: number;
}

/** A text as a model reads it: the token's number, and in which text of a pair it lies (0 or 1). */
export interface EncodedText {
  ids: number[];
  typeIds: number[];
}

/** Texts of one length, row by row: [texts, length]. */
export interface TextBatch {
  ids: Uint32Array<ArrayBuffer>;
  /** 1 for a token, 0 for what fills up. */
  mask: Uint32Array<ArrayBuffer>;
  typeIds: Uint32Array<ArrayBuffer>;
}

/** No token has this number. */
const NONE = -1;

/** Texts to token numbers and back, by the rules of a tokenizer.json: the numbers that the tokenizers package of Python gives. */
export class Tokenizer {
  readonly #file: string;
  readonly #normalize: Normalize;
  readonly #preTokenize: PreTokenize;
  readonly #model: Model;
  readonly #added: AddedTokens;
  readonly #surround: PostProcess;
  readonly #decode: Decode;
  /** What a text for people leaves out. */
  readonly #special: ReadonlySet<number>;
  /** Special tokens round one text, and round a pair. */
  readonly #around: readonly [number, number];

  /**
   * @param json content of tokenizer.json
   * @param config content of tokenizer_config.json, where there is one
   * @param file what errors name
   * @throws ModelError when the content makes no tokenizer
   */
  constructor(json: Record<string, unknown>, config: Record<string, unknown>, file: string) {
    this.#file = file;
    const unknown = (word: string): never => {
      throw new ModelError(`${file}: has no number for ${JSON.stringify(word)}, and none for unknown tokens`);
    };
    try {
      if (typeof json.model !== 'object' || json.model === null) throw new Error('there is no model');
      this.#model = createModel(json.model as ModelRules, unknown);
      this.#normalize = createNormalizer(json.normalizer as Rules | null);
      this.#preTokenize = createPreTokenizer(json.pre_tokenizer as Rules | null);
      this.#added = new AddedTokens(json.added_tokens, this.#normalize, (token) => this.#model.idOf(token));
      this.#surround = createPostProcessor(json.post_processor as Rules | null);
      this.#decode = createDecoder(json.decoder as Rules | null);
      const { additional_special_tokens: more } = config;
      const named = Array.isArray(more) ? more.map((token) => this.idOf(contentOf(token))) : [];
      this.#special = new Set([...this.#added.special, ...named.filter((id) => id !== undefined)]);
      this.#around = [this.#surround([], null, true).ids.length, this.#surround([], [], true).ids.length];
    } catch (cause) {
      throw new ModelError(`${file}: makes no tokenizer (${firstLine(cause)})`, { cause });
    }
  }

  /** The number of a token, special ones too; undefined if there is none. */
  idOf(token: string): number | undefined {
    return this.#added.idOf(token) ?? this.#model.idOf(token);
  }

  /** How many special tokens go round a text, or round a pair. */
  specialTokens(pair: boolean): number {
    return this.#around[pair ? 1 : 0];
  }

  /** The special token that ends a text and so keeps it apart from the next: `</s>`, `[SEP]`; null where texts end without one. */
  get separator(): string | null {
    const last = this.#surround([NONE], null, true).ids.at(-1);
    return last === undefined || last === NONE
      ? null
      : (this.#added.contentOf(last) ?? this.#model.tokenOf(last) ?? null);
  }

  /** @throws ModelError when the limit leaves no room for the special tokens, or the first text cannot be cut as far as needed */
  encode(input: TextInput, options: EncodeOptions = {}): EncodedText {
    const {
      maxLength = Number.POSITIVE_INFINITY,
      truncation = 'longest_first',
      specialTokens = true,
    } = options;
    const [first, second] = typeof input === 'string' ? [input, null] : input;
    const tokens = this.#tokens(first);
    const others = second === null ? null : this.#tokens(second);
    const room = maxLength - (specialTokens ? this.#around[others ? 1 : 0] : 0);
    if (room < 0)
      throw new ModelError(
        `${this.#file}: ${maxLength} tokens leave no room for the special tokens of a text`,
      );
    const kept = truncate(tokens.length, others?.length ?? null, room, truncation);
    if (!kept)
      throw new ModelError(
        `${this.#file}: the first text has too few tokens to bring a pair down to ${maxLength}`,
      );
    return this.#surround(tokens.slice(0, kept[0]), others?.slice(0, kept[1]) ?? null, specialTokens);
  }

  /** Texts as rows of one length; `maxLength` is at most `length`. @throws ModelError as `encode` */
  encodeBatch(inputs: readonly TextInput[], { length, padId, ...options }: BatchOptions): TextBatch {
    const maxLength = Math.min(length, options.maxLength ?? length);
    const size = inputs.length * length;
    const batch = {
      ids: new Uint32Array(size).fill(padId),
      mask: new Uint32Array(size),
      typeIds: new Uint32Array(size),
    };
    inputs.forEach((input, row) => {
      const { ids, typeIds } = this.encode(input, { ...options, maxLength });
      batch.ids.set(ids, row * length);
      batch.typeIds.set(typeIds, row * length);
      batch.mask.fill(1, row * length, row * length + ids.length);
    });
    return batch;
  }

  /** The text of token numbers, without special tokens and numbers that are none. */
  decode(ids: ArrayLike<number>): string {
    const tokens: string[] = [];
    for (const id of Array.from(ids)) {
      const token = this.#added.shownOf(id) ?? this.#model.tokenOf(id);
      if (token !== undefined && !this.#special.has(id)) tokens.push(token);
    }
    return this.#decode(tokens);
  }

  /** A text's tokens: added ones as they are found, of the rest each word's. */
  #tokens(text: string): number[] {
    const ids: number[] = [];
    for (const section of this.#added.cutRaw(text)) {
      if (section.id !== undefined) {
        ids.push(section.id);
        continue;
      }
      for (const part of this.#added.cutNormal(this.#normalize(section.text))) {
        if (part.id !== undefined) {
          ids.push(part.id);
          continue;
        }
        const isFirst = section.start + part.start === 0;
        for (const word of this.#preTokenize(part.text, isFirst)) this.#model.encode(word, ids);
      }
    }
    return ids;
  }
}

/** A special token is named by its text, or described. */
function contentOf(token: unknown): string {
  return String(typeof token === 'object' ? (token as { content?: unknown } | null)?.content : token);
}

function firstLine(cause: unknown): string {
  return String(cause instanceof Error ? cause.message : cause)
    .split('\n')[0]!
    .slice(0, 200);
}
