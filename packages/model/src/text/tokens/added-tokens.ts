// Tokens that are found in a text before it is split into words, as the tokenizers package finds them.

import { LETTER } from './pre-tokenizers.ts';
import { Trie } from './trie.ts';

/** An entry of added_tokens in tokenizer.json. */
interface AddedToken {
  id: number;
  content: string;
  special: boolean;
  /** It stands alone: no letter before or after it. */
  single_word: boolean;
  /** White space before it, and after it, belongs to it. */
  lstrip: boolean;
  rstrip: boolean;
  /** It is looked for, normalised, in the normalised text; otherwise in the text as it is. */
  normalized: boolean;
}

/** A part of a text: an added token, or what lies between two. */
export interface Piece {
  text: string;
  start: number;
  /** The number of the token; undefined for what lies between. */
  id: number | undefined;
}

const WORD_AHEAD = new RegExp(`[${LETTER}]`, 'uy');
const WORD_BEHIND = new RegExp(`(?<=[${LETTER}])`, 'uy');
const SPACES_AHEAD = /\p{White_Space}*/uy;
const SPACE = /\p{White_Space}/u;

export class AddedTokens {
  /** The numbers of the special ones. */
  readonly special: ReadonlySet<number>;
  readonly #tokens = new Map<number, AddedToken>();
  readonly #ids = new Map<string, number>();
  readonly #shown = new Map<number, string>();
  readonly #raw = new Trie();
  readonly #normal = new Trie();
  #hasRaw = false;
  #hasNormal = false;

  /**
   * @param list added_tokens of tokenizer.json
   * @param normalize what the text goes through
   * @param idOf the number that the vocabulary has for a token: it goes before the list's
   * @throws when an entry has no text or no number
   */
  constructor(
    list: unknown,
    normalize: (text: string) => string,
    idOf: (token: string) => number | undefined,
  ) {
    const specials = new Set<number>();
    this.special = specials;
    const tokens = (Array.isArray(list) ? list : []).map(read).filter(({ content }) => content !== '');
    for (const token of tokens) {
      const id = idOf(token.content) ?? token.id;
      this.#tokens.set(id, { ...token, id });
      this.#ids.set(token.content, id);
    }
    // Of two that are one when normalised the special one is found, or else the first.
    for (const isSpecial of [true, false])
      for (const { id, content, special, normalized } of this.#tokens.values()) {
        if (special !== isSpecial) continue;
        const text = normalized ? normalize(content) : content;
        this.#shown.set(id, text);
        if (special) specials.add(id);
        if (text === '') continue;
        (normalized ? this.#normal : this.#raw).add(text, id);
        if (normalized) this.#hasNormal = true;
        else this.#hasRaw = true;
      }
  }

  idOf(content: string): number | undefined {
    return this.#ids.get(content);
  }

  contentOf(id: number): string | undefined {
    return this.#tokens.get(id)?.content;
  }

  /** A token as it lies in the normalised text: what decoders read. */
  shownOf(id: number): string | undefined {
    return this.#shown.get(id);
  }

  /** Cuts a text at the tokens that are looked for in it as it is. */
  cutRaw(text: string): Piece[] {
    return this.#hasRaw ? this.#cut(text, this.#raw) : whole(text);
  }

  /** Cuts a normalised text at the tokens that are normalised. */
  cutNormal(text: string): Piece[] {
    return this.#hasNormal ? this.#cut(text, this.#normal) : whole(text);
  }

  #cut(text: string, trie: Trie): Piece[] {
    const pieces: Piece[] = [];
    const push = (start: number, end: number, id?: number) => {
      if (start < end) pieces.push({ text: text.slice(start, end), start, id });
    };
    let done = 0;
    for (let at = 0; at < text.length; ) {
      const [found, length] = longest(text, at, trie);
      if (found === -1) {
        at++;
        continue;
      }
      let [start, end] = [at, at + length];
      // The search goes on behind the token itself, also where it is not taken or takes white space.
      at = end;
      const token = this.#tokens.get(found)!;
      if (token.single_word && (sticks(WORD_BEHIND, text, start) || sticks(WORD_AHEAD, text, end))) continue;
      if (token.lstrip) {
        while (start > done && SPACE.test(text[start - 1]!)) start--;
        // All of it may be white space that the token before took.
        start = Math.max(start, done);
        if (start >= end) continue;
      }
      if (token.rstrip) {
        SPACES_AHEAD.lastIndex = end;
        end += SPACES_AHEAD.exec(text)![0].length;
      }
      push(done, start);
      push(start, end, token.id);
      done = end;
    }
    push(done, text.length);
    return pieces;
  }
}

function whole(text: string): Piece[] {
  return text === '' ? [] : [{ text, start: 0, id: undefined }];
}

/** The longest token that begins at a place: its value in the trie (or -1), and its length. */
function longest(text: string, at: number, trie: Trie): [value: number, length: number] {
  let [value, length] = [-1, 0];
  let node: number | undefined = Trie.root;
  for (let end = at; end < text.length; ) {
    node = trie.step(node, text.charCodeAt(end++));
    if (node === undefined) break;
    const here = trie.valueAt(node);
    if (here !== -1) [value, length] = [here, end - at];
  }
  return [value, length];
}

function sticks(pattern: RegExp, text: string, at: number): boolean {
  pattern.lastIndex = at;
  return pattern.test(text);
}

function read(entry: unknown): AddedToken {
  const { id, content, special, single_word, lstrip, rstrip, normalized } = (entry ??
    {}) as Partial<AddedToken>;
  if (typeof content !== 'string' || !Number.isSafeInteger(id) || id! < 0)
    throw new Error('an entry of added_tokens has no text or no number');
  return {
    id: id!,
    content,
    special: special ?? false,
    single_word: single_word ?? false,
    lstrip: lstrip ?? false,
    rstrip: rstrip ?? false,
    normalized: normalized ?? !special,
  };
}
