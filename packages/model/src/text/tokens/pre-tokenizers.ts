import type { Rules } from './normalizers.ts';
import { PUNCTUATION } from './older-unicode.ts';
import { compilePattern } from './patterns.ts';

/**
 * Cuts a text into words.
 * @param isFirst whether the text begins what was given
 */
export type PreTokenize = (text: string, isFirst: boolean) => string[];

/** @throws when a rule is of an unknown type or lacks what it needs */
export function createPreTokenizer(rules: Rules | null | undefined): PreTokenize {
  if (!rules) return (text) => [text];
  switch (rules.type) {
    case 'Sequence':
      return inTurn(((rules.pretokenizers ?? []) as Rules[]).map(createPreTokenizer));
    case 'BertPreTokenizer':
      return (text) => text.match(BERT) ?? [];
    case 'ByteLevel':
      return byteLevel(rules);
    case 'Metaspace':
      return metaspace(rules);
    case 'Split':
      return cutting(compilePattern(rules.pattern), rules.behavior, rules.invert === true);
    case 'Punctuation':
      return cutting(new RegExp(PUNCTUATION, 'gu'), rules.behavior ?? 'Isolated');
    case 'Digits':
      return cutting(/\p{N}/gu, rules.individual_digits ? 'Isolated' : 'Contiguous');
    case 'Whitespace':
      return (text) => text.match(WORDS) ?? [];
    case 'WhitespaceSplit':
      return (text) => text.match(/\P{White_Space}+/gu) ?? [];
    case 'CharDelimiterSplit':
      return (text) => text.split(String(rules.delimiter)).filter((word) => word !== '');
    case 'FixedLength':
      return fixedLength(Number(rules.length));
    default:
      throw new Error(`unknown pre_tokenizer type ${JSON.stringify(rules.type)}`);
  }
}

const BERT = new RegExp(String.raw`${PUNCTUATION}|(?:(?!${PUNCTUATION})\P{White_Space})+`, 'gu');
/** Of what a word is made, within brackets: Unicode's \w (Technical Standard 18). */
export const LETTER: string = String.raw`\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}`;
const WORDS = new RegExp(String.raw`[${LETTER}]+|[^${LETTER}\p{White_Space}]+`, 'gu');

function inTurn(steps: readonly PreTokenize[]): PreTokenize {
  return (text, isFirst) => {
    let words = [text];
    for (const step of steps)
      words = words.flatMap((word, i) => step(word, isFirst && i === 0 && text.startsWith(word)));
    return words;
  };
}

/** What becomes of the matches: "Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext". */
function cutting(pattern: RegExp, behavior: unknown, isInverted = false): PreTokenize {
  const kind = String(behavior).toLowerCase().replaceAll('_', '');
  return (text) => {
    const parts: { text: string; isMatch: boolean }[] = [];
    let done = 0;
    for (const { 0: match, index } of text.matchAll(pattern)) {
      if (index > done) parts.push({ text: text.slice(done, index), isMatch: isInverted });
      if (match !== '') parts.push({ text: match, isMatch: !isInverted });
      done = index + match.length;
    }
    if (done < text.length) parts.push({ text: text.slice(done), isMatch: isInverted });
    if (kind === 'removed') return parts.filter(({ isMatch }) => !isMatch).map((part) => part.text);
    const words: string[] = [];
    parts.forEach((part, i) => {
      const before = parts[i - 1];
      const isJoined =
        before !== undefined &&
        ((kind === 'contiguous' && part.isMatch === before.isMatch) ||
          (kind === 'mergedwithprevious' && part.isMatch && !before.isMatch) ||
          (kind === 'mergedwithnext' && !part.isMatch && before.isMatch));
      if (isJoined) words[words.length - 1] += part.text;
      else words.push(part.text);
    });
    return words;
  };
}

/** What a byte is written as: itself where it prints, otherwise one of the letters from U+0100. */
export const LETTERS: readonly string[] = (() => {
  let more = 0;
  return Array.from({ length: 256 }, (_, byte) => {
    const prints =
      (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte < 0xad) || (byte > 0xad && byte < 0x100);
    return String.fromCharCode(prints ? byte : 0x100 + more++);
  });
})();
/** GPT-2's words. */
const GPT_2 =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

function byteLevel({ add_prefix_space: hasSpace, use_regex: isCut }: Rules): PreTokenize {
  const encoder = new TextEncoder();
  const letters = (word: string): string => {
    let result = '';
    for (let i = 0; i < word.length; i++) {
      const unit = word.charCodeAt(i);
      if (unit >= 0x80) return Array.from(encoder.encode(word), (byte) => LETTERS[byte]).join('');
      result += LETTERS[unit];
    }
    return result;
  };
  return (text) => {
    const whole = hasSpace && !text.startsWith(' ') ? ` ${text}` : text;
    return (isCut === false ? [whole] : (whole.match(GPT_2) ?? [])).map(letters);
  };
}

/** SentencePiece's: spaces are a sign that words begin with. */
function metaspace({ replacement = '▁', prepend_scheme, add_prefix_space, split }: Rules): PreTokenize {
  const sign = String(replacement);
  // Older files say by add_prefix_space what newer ones say by prepend_scheme.
  const scheme = prepend_scheme ?? (add_prefix_space === false ? 'never' : 'always');
  return (text, isFirst) => {
    let words = text.replaceAll(' ', sign);
    if (!words.startsWith(sign) && (scheme === 'always' || (scheme === 'first' && isFirst)))
      words = sign + words;
    if (split === false) return [words];
    const starts = [0];
    for (let at = words.indexOf(sign, 1); at !== -1; at = words.indexOf(sign, at + 1)) starts.push(at);
    return starts.map((start, i) => words.slice(start, starts[i + 1]));
  };
}

function fixedLength(length: number): PreTokenize {
  if (!(length >= 1)) throw new Error('FixedLength has no length');
  return (text) => {
    const chars = [...text];
    return Array.from({ length: Math.ceil(chars.length / length) }, (_, i) =>
      chars.slice(i * length, (i + 1) * length).join(''),
    );
  };
}
