import { MergeQueue } from './merge-queue.ts';
import type { Model, ModelRules } from './model.ts';
import { byteTokens } from './unigram.ts';
import { readVocabulary } from './vocabulary.ts';

/** Words whose tokens are kept, and how long such a word is at most. */
const [CACHED, CACHED_LENGTH] = [10_000, 256];

/** Byte-pair encoding: of the pairs in a word the one that was merged first in training is merged, the leftmost of equals, until there is none. Sennrich et al. (2016), arXiv:1508.07909. */
export function bpe(rules: ModelRules): Model {
  const { vocab, merges: pairs, unk_token, fuse_unk, byte_fallback, ignore_merges } = rules;
  const vocabulary = readVocabulary(vocab);
  const { ids } = vocabulary;
  const prefix = String(rules.continuing_subword_prefix ?? '');
  const suffix = String(rules.end_of_word_suffix ?? '');
  const unk = typeof unk_token === 'string' ? ids.get(unk_token) : undefined;
  const bytes = byte_fallback === true ? byteTokens(vocabulary) : null;
  const merges = readMerges(pairs, ids, prefix);
  const cache = new Map<string, number[]>();

  /** The tokens that the word's characters are. */
  const spell = (word: string): number[] => {
    const symbols: number[] = [];
    // An unknown token waits for the next known one: those that are spelt by their bytes in between come before it.
    let isWaiting = false;
    let start = 0;
    for (const char of word) {
      const end = start + char.length;
      const text = (start > 0 ? prefix : '') + char + (end === word.length ? suffix : '');
      start = end;
      const id = ids.get(text);
      const spelt = id === undefined && bytes ? bytes(text) : null;
      if (spelt) symbols.push(...spelt);
      else if (id !== undefined) {
        if (isWaiting) symbols.push(unk!);
        isWaiting = false;
        symbols.push(id);
      } else if (unk !== undefined) {
        if (isWaiting && fuse_unk !== true) symbols.push(unk);
        isWaiting = true;
      }
    }
    if (isWaiting) symbols.push(unk!);
    return symbols;
  };

  const tokensOf = (word: string): number[] => {
    const id = ignore_merges === true ? ids.get(word) : undefined;
    return id === undefined ? merge(spell(word), merges) : [id];
  };

  return {
    idOf: (token) => vocabulary.idOf(token),
    tokenOf: (id) => vocabulary.tokenOf(id),
    encode(word, into) {
      let tokens = cache.get(word);
      if (!tokens) {
        tokens = tokensOf(word);
        if (word.length < CACHED_LENGTH) {
          if (cache.size >= CACHED) cache.clear();
          cache.set(word, tokens);
        }
      }
      for (const id of tokens) into.push(id);
    },
  };
}

interface Merges {
  /** By both tokens, as one number: which merge this is. */
  ranks: ReadonlyMap<number, number>;
  /** What a merge makes. */
  results: readonly number[];
  /** Above every token's number. */
  size: number;
}

function readMerges(pairs: unknown, ids: ReadonlyMap<string, number>, prefix: string): Merges {
  if (!Array.isArray(pairs)) throw new Error('merges must be a list of pairs');
  let size = 0;
  for (const id of ids.values()) size = Math.max(size, id + 1);
  const ranks = new Map<number, number>();
  const of = (token: string): number => {
    const id = ids.get(token);
    if (id === undefined) throw new Error(`merges name ${JSON.stringify(token)}, which is no token`);
    return id;
  };
  const results = pairs.map((pair, rank) => {
    const [left, right] = typeof pair === 'string' ? pair.split(' ') : pair;
    if (typeof left !== 'string' || typeof right !== 'string')
      throw new Error('merges must be pairs of tokens');
    ranks.set(of(left) * size + of(right), rank);
    return of(left + right.slice(prefix.length));
  });
  return { ranks, results, size };
}

/** Merges neighbours in place of each other. Takes the symbols over. */
function merge(symbols: number[], { ranks, results, size }: Merges): number[] {
  const count = symbols.length;
  if (count < 2) return symbols;
  const next = symbols.map((_, at) => at + 1);
  const previous = symbols.map((_, at) => at - 1);
  const queue = new MergeQueue();
  const rankAt = (at: number) => ranks.get(symbols[at]! * size + symbols[next[at]!]!);
  const offer = (at: number) => {
    const rank = next[at]! < count ? rankAt(at) : undefined;
    if (rank !== undefined) queue.push(rank, at);
  };
  for (let at = 0; at + 1 < count; at++) offer(at);
  while (queue.pop()) {
    const { rank, at } = queue;
    const right = next[at]!;
    if (symbols[at] === -1 || right >= count) continue;
    // The pair may have changed since it was offered; what counts is what it makes, as for the tokenizers package.
    const now = rankAt(at);
    if (now === undefined || results[now] !== results[rank]) continue;
    symbols[at] = results[rank]!;
    symbols[right] = -1;
    next[at] = next[right]!;
    if (next[at]! < count) previous[next[at]!] = at;
    if (previous[at]! >= 0) offer(previous[at]!);
    offer(at);
  }
  return symbols.filter((symbol) => symbol !== -1);
}
