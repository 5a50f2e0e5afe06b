import { Tokenizer as Rules } from '@huggingface/tokenizers';
import { ModelError } from '../errors.ts';
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

/** Texts to token numbers and back, by the rules of a tokenizer.json. */
export class Tokenizer {
  readonly #rules: Rules;
  readonly #file: string;
  /** Special tokens round one text, and round a pair. */
  readonly #around: readonly [number, number];
  readonly #hasOneType: boolean;

  /**
   * @param json content of tokenizer.json
   * @param config content of tokenizer_config.json, where there is one
   * @param file what errors name
   * @throws ModelError when the content makes no tokenizer
   */
  constructor(json: Record<string, unknown>, config: Record<string, unknown>, file: string) {
    try {
      this.#rules = new Rules(json, config);
      this.#file = file;
      this.#hasOneType = isRoberta(json.post_processor);
      this.#around = [this.#surround([], null).tokens.length, this.#surround([], []).tokens.length];
    } catch (cause) {
      throw new ModelError(`${file}: makes no tokenizer (${firstLine(cause)})`, { cause });
    }
  }

  /** The number of a token, special ones too; undefined if there is none. */
  idOf(token: string): number | undefined {
    return this.#rules.token_to_id(token);
  }

  /** How many special tokens go round a text, or round a pair. */
  specialTokens(pair: boolean): number {
    return this.#around[pair ? 1 : 0];
  }

  /** The special token that ends a text and so keeps it apart from the next: `</s>`, `[SEP]`; null where texts end without one. */
  get separator(): string | null {
    const text = 'text';
    const last = this.#surround([text], null).tokens.at(-1);
    return last === undefined || last === text ? null : last;
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
    const left = tokens.slice(0, kept[0]);
    const right = others?.slice(0, kept[1]) ?? null;
    if (!specialTokens) {
      const typeIds = [...left.map(() => 0), ...(right ?? []).map(() => 1)];
      return { ids: this.#ids([...left, ...(right ?? [])]), typeIds };
    }
    const { tokens: all, token_type_ids: types } = this.#surround(left, right);
    return { ids: this.#ids(all), typeIds: types && !this.#hasOneType ? types : all.map(() => 0) };
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

  /** The text of token numbers, without special tokens. */
  decode(ids: ArrayLike<number>): string {
    if (ids.length === 0) return '';
    return this.#rules.decode(Array.from(ids), {
      skip_special_tokens: true,
      clean_up_tokenization_spaces: false,
    });
  }

  #tokens(text: string): string[] {
    return this.#rules.tokenize(text, { add_special_tokens: false });
  }

  /** What the post-processor makes of tokens. Called here, not in the library: there an empty second text is none. */
  #surround(tokens: string[], others: string[] | null): { tokens: string[]; token_type_ids?: number[] } {
    const { post_processor: process } = this.#rules;
    return process ? process(tokens, others, true) : { tokens: [...tokens, ...(others ?? [])] };
  }

  #ids(tokens: readonly string[]): number[] {
    const unknown = this.#rules.model?.unk_token_id;
    return tokens.map((token) => {
      const id = this.#rules.token_to_id(token) ?? unknown;
      if (id === undefined)
        throw new ModelError(
          `${this.#file}: has no number for ${JSON.stringify(token)}, and none for unknown tokens`,
        );
      return id;
    });
  }
}

/** A RoBERTa knows one type of token only: its texts all are of type 0, which the library does not know. */
function isRoberta(processor: unknown): boolean {
  const { type, processors } = (processor ?? {}) as { type?: unknown; processors?: unknown };
  return type === 'RobertaProcessing' || (Array.isArray(processors) && processors.some(isRoberta));
}

function firstLine(cause: unknown): string {
  return String(cause instanceof Error ? cause.message : cause)
    .split('\n')[0]!
    .slice(0, 200);
}
