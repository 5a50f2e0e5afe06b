import type { Model, ModelRules } from './model.ts';
import { Trie } from './trie.ts';
import { Vocabulary } from './vocabulary.ts';

/** What an unknown character costs more than the least likely token. */
const PENALTY = 10;

/** SentencePiece's unigram model: of all ways to cut a word into tokens the likeliest. Kudo (2018), arXiv:1804.10959, section 3.2. */
export function unigram(rules: ModelRules, unknown: (word: string) => never): Model {
  const list = rules.vocab as [token: string, score: number][];
  if (!Array.isArray(list)) throw new Error('vocab must be a list of tokens and scores');
  const scores = list.map(([, score]) => score);
  const vocabulary = new Vocabulary(list.map(([token], id) => [token, id]));
  const unk = typeof rules.unk_id === 'number' ? rules.unk_id : undefined;
  const unkScore =
    scores.reduce((least, score) => Math.min(least, score), Number.POSITIVE_INFINITY) - PENALTY;
  const trie = new Trie();
  list.forEach(([token], id) => {
    trie.add(token, id, true);
  });
  const bytes = rules.byte_fallback === true ? byteTokens(vocabulary) : null;

  /** The best way to each place: what the last token of it is, where that begins, and the score of the way. */
  const best = (word: string) => {
    const size = word.length;
    const from = new Int32Array(size + 1).fill(-1);
    const last = new Int32Array(size + 1);
    const score = new Float64Array(size + 1);
    const offer = (start: number, end: number, id: number, gain: number) => {
      const sum = score[start]! + gain;
      // Of two ways with one score the one whose last token begins first.
      if (from[end] !== -1 && sum <= score[end]!) return;
      from[end] = start;
      last[end] = id;
      score[end] = sum;
    };
    for (let start = 0; start < size; ) {
      const width = word.codePointAt(start)! > 0xffff ? 2 : 1;
      let hasSingle = false;
      let node: number | undefined = Trie.root;
      for (let end = start; end < size; ) {
        node = trie.step(node, word.charCodeAt(end++));
        if (node === undefined) break;
        const id = trie.valueAt(node);
        if (id === -1) continue;
        offer(start, end, id, scores[id]!);
        hasSingle ||= end - start === width;
      }
      if (!hasSingle) offer(start, start + width, unk ?? unknown(word), unkScore);
      start += width;
    }
    return { from, last };
  };

  return {
    idOf: (token) => vocabulary.idOf(token),
    tokenOf: (id) => vocabulary.tokenOf(id),
    encode(word, into) {
      const { from, last } = best(word);
      const ids: number[] = [];
      for (let end = word.length; end > 0; ) {
        let start = from[end]!;
        if (last[end] === unk) {
          // Unknown characters in a row are one unknown token.
          while (start > 0 && last[start] === unk) start = from[start]!;
          const text = word.slice(start, end);
          const known = vocabulary.idOf(text);
          const spelt = known === undefined && bytes ? bytes(text) : null;
          // One by one: a text may be longer than a call has arguments.
          if (spelt) for (const id of spelt.reverse()) ids.push(id);
          else ids.push(known ?? unk!);
        } else ids.push(last[end]!);
        end = start;
      }
      for (let i = ids.length - 1; i >= 0; i--) into.push(ids[i]!);
    },
  };
}

/** What spells a text by the tokens of its bytes; null where the vocabulary lacks one of them. */
export function byteTokens(vocabulary: Vocabulary): (text: string) => number[] | null {
  const ids = Array.from({ length: 256 }, (_, byte) =>
    vocabulary.idOf(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
  );
  const encoder = new TextEncoder();
  return (text) => {
    const spelt = Array.from(encoder.encode(text), (byte) => ids[byte]);
    return spelt.every((id) => id !== undefined) ? (spelt as number[]) : null;
  };
}
