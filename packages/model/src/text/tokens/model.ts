import { bpe } from './bpe.ts';
import { unigram } from './unigram.ts';
import { wordLevel, wordPiece } from './word-piece.ts';

/** Makes numbers of a word. */
export interface Model {
  /** Puts the tokens of a word behind others. */
  encode(word: string, into: number[]): void;
  idOf(token: string): number | undefined;
  tokenOf(id: number): string | undefined;
}

/** The field model of tokenizer.json. */
export type ModelRules = Record<string, unknown>;

/**
 * @param unknown throws: a word is not in the vocabulary, and nothing stands for such
 * @throws when the rules make no model
 */
export function createModel(rules: ModelRules, unknown: (word: string) => never): Model {
  const type = rules.type ?? guess(rules);
  if (type === 'BPE') return bpe(rules);
  if (type === 'WordPiece') return wordPiece(rules, unknown);
  if (type === 'Unigram') return unigram(rules, unknown);
  if (type === 'WordLevel') return wordLevel(rules, unknown);
  throw new Error(`unknown model type ${JSON.stringify(type)}`);
}

/** Files of old do not name the type. */
function guess({ vocab, merges, continuing_subword_prefix }: ModelRules): string {
  if (Array.isArray(vocab)) return 'Unigram';
  if (merges) return 'BPE';
  return continuing_subword_prefix === undefined ? 'WordLevel' : 'WordPiece';
}
