import { Tokenizer as Library } from '@huggingface/tokenizers';

/**
 * A pattern of tokenizer.json, global: a text that is looked for, or an expression as Oniguruma reads it.
 * @throws when it is neither, or JavaScript has no expression for it
 */
export function compilePattern(pattern: unknown): RegExp {
  const { String: text, Regex: regex } = (pattern ?? {}) as { String?: unknown; Regex?: unknown };
  if (typeof text === 'string') return new RegExp(literally(text), 'gu');
  if (typeof regex !== 'string') throw new Error('a pattern has neither String nor Regex');
  // The library translates what the two languages write differently.
  const { pre_tokenizer } = new Library(
    {
      pre_tokenizer: { type: 'Split', pattern: { Regex: regex }, behavior: 'Isolated', invert: false },
      model: { type: 'WordPiece', vocab: {} },
      normalizer: null,
      post_processor: null,
      decoder: null,
      added_tokens: [],
    },
    {},
  );
  const { pattern: compiled } = pre_tokenizer as unknown as { pattern: RegExp | null };
  if (!compiled) throw new Error('a pattern makes no regular expression');
  return compiled;
}

/** What finds a text. */
function literally(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`);
}
