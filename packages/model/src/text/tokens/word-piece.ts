import type { Model, ModelRules } from './model.ts';
import { readVocabulary } from './vocabulary.ts';

/** BERT's: of a word the longest beginning that is a token, and so on with the rest; a word with a rest that is none is unknown. */
export function wordPiece(rules: ModelRules, unknown: (word: string) => never): Model {
  const { vocab, unk_token, continuing_subword_prefix, max_input_chars_per_word } = rules;
  const vocabulary = readVocabulary(vocab);
  const { ids } = vocabulary;
  const prefix = String(continuing_subword_prefix ?? '##');
  const most = Number(max_input_chars_per_word ?? 100);
  const unk = ids.get(String(unk_token ?? '[UNK]'));
  let longest = 0;
  for (const token of ids.keys()) longest = Math.max(longest, token.length);

  return {
    idOf: (token) => vocabulary.idOf(token),
    tokenOf: (id) => vocabulary.tokenOf(id),
    encode(word, into) {
      const before = into.length;
      let start = word.length > most && [...word].length > most ? -1 : 0;
      while (start >= 0 && start < word.length) {
        let end = Math.min(word.length, start + longest);
        let id: number | undefined;
        for (; end > start; end--) {
          const text = word.slice(start, end);
          id = ids.get(start > 0 ? prefix + text : text);
          if (id !== undefined) break;
        }
        if (id === undefined) start = -1;
        else {
          into.push(id);
          start = end;
        }
      }
      if (start >= 0) return;
      into.length = before;
      into.push(unk ?? unknown(word));
    },
  };
}

/** A word is a token or unknown. */
export function wordLevel({ vocab, unk_token }: ModelRules, unknown: (word: string) => never): Model {
  const vocabulary = readVocabulary(vocab);
  const unk = vocabulary.idOf(String(unk_token ?? '<unk>'));
  return {
    idOf: (token) => vocabulary.idOf(token),
    tokenOf: (id) => vocabulary.tokenOf(id),
    encode(word, into) {
      into.push(vocabulary.idOf(word) ?? unk ?? unknown(word));
    },
  };
}
