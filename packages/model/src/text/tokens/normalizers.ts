import { CONTROL, MARK } from './older-unicode.ts';
import { compilePattern } from './patterns.ts';
import { precompiled } from './precompiled.ts';

/** A text as the vocabulary spells it. */
export type Normalize = (text: string) => string;

/** The fields normalizer, pre_tokenizer and post_processor of tokenizer.json, and the parts of these. */
export type Rules = Record<string, unknown> & { type?: unknown };

/** @throws when a normaliser is of an unknown type or lacks what it needs */
export function createNormalizer(rules: Rules | null | undefined): Normalize {
  if (!rules) return (text) => text;
  switch (rules.type) {
    case 'Sequence': {
      const steps = ((rules.normalizers ?? []) as Rules[]).map(createNormalizer);
      return (text) => steps.reduce((before, step) => step(before), text);
    }
    case 'BertNormalizer':
      return bert(rules);
    case 'Precompiled':
      return typeof rules.precompiled_charsmap === 'string'
        ? precompiled(rules.precompiled_charsmap)
        : (text) => text;
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD': {
      const form = rules.type;
      return (text) => text.normalize(form);
    }
    case 'Replace': {
      const pattern = compilePattern(rules.pattern);
      const content = String(rules.content ?? '');
      // A function, as "$&" in a text would be read.
      return (text) => text.replaceAll(pattern, () => content);
    }
    case 'Prepend': {
      const before = String(rules.prepend ?? '');
      return (text) => (text === '' ? '' : before + text);
    }
    case 'Strip': {
      const { strip_left: left, strip_right: right } = rules;
      return (text) => {
        const begun = left ? text.replace(/^\p{White_Space}+/u, '') : text;
        return right ? begun.slice(0, endOf(begun)) : begun;
      };
    }
    case 'StripAccents':
      return (text) => text.replaceAll(/\p{M}/gu, '');
    case 'Lowercase':
      return lowercase;
    default:
      throw new Error(`unknown normalizer type ${JSON.stringify(rules.type)}`);
  }
}

/** Where the white space at the end of a text begins. */
function endOf(text: string): number {
  let end = text.length;
  while (end > 0 && /\p{White_Space}/u.test(text[end - 1]!)) end--;
  return end;
}

/** Letter by letter: JavaScript alone has another sigma for the end of a word. */
function lowercase(text: string): string {
  return text.replaceAll('Σ', 'σ').toLowerCase();
}

const ASCII = /^[ -~]*$/;
const REMOVED = new RegExp(CONTROL, 'gu');
const MARKS = new RegExp(MARK, 'gu');
const SPACES = /\p{White_Space}/gu;
/** Without the block U+2B820..2B91F: the tokenizers package leaves it out. */
const IDEOGRAPHS =
  /[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{2a6df}\u{2a700}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/gu;

/** Devlin et al.'s: control characters go, white space is a space, ideographs stand alone, and letters lose their accents and capitals. */
function bert({ clean_text, handle_chinese_chars, strip_accents, lowercase: isLower }: Rules): Normalize {
  const isPlain = strip_accents ?? isLower;
  return (text) => {
    if (ASCII.test(text)) return isLower ? text.toLowerCase() : text;
    let result = text;
    if (clean_text) result = result.replaceAll(REMOVED, '').replaceAll(SPACES, ' ');
    if (handle_chinese_chars) result = result.replaceAll(IDEOGRAPHS, ' $& ');
    if (isPlain) result = result.normalize('NFD').replaceAll(MARKS, '');
    return isLower ? lowercase(result) : result;
  };
}
