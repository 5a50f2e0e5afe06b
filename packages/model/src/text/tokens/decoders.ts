import type { Rules } from './normalizers.ts';
import { compilePattern } from './patterns.ts';
import { LETTERS } from './pre-tokenizers.ts';

/** The text of tokens. */
export type Decode = (tokens: readonly string[]) => string;

/** Tokens as they are read: what they come to are texts again, for the next step. */
type Step = (tokens: readonly string[]) => string[];

/** @throws when a decoder is of an unknown type or lacks what it needs */
export function createDecoder(rules: Rules | null | undefined): Decode {
  if (!rules) return (tokens) => tokens.join(' ');
  const step = createStep(rules);
  return (tokens) => step(tokens).join('');
}

function createStep(rules: Rules): Step {
  switch (rules.type) {
    case 'Sequence': {
      const steps = ((rules.decoders ?? []) as Rules[]).map(createStep);
      return (tokens) => steps.reduce<string[]>((before, step) => step(before), [...tokens]);
    }
    case 'ByteLevel':
      return byteLevel;
    case 'ByteFallback':
      return byteFallback;
    case 'WordPiece':
      return wordPiece(rules);
    case 'Metaspace':
      return metaspace(rules);
    case 'BPEDecoder': {
      const suffix = String(rules.suffix ?? '</w>');
      return (tokens) =>
        tokens.map((token, i) => token.replaceAll(suffix, i === tokens.length - 1 ? '' : ' '));
    }
    case 'Replace': {
      const pattern = compilePattern(rules.pattern);
      const content = String(rules.content ?? '');
      return (tokens) => tokens.map((token) => token.replaceAll(pattern, () => content));
    }
    case 'Fuse':
      return (tokens) => [tokens.join('')];
    case 'Strip':
      return strip(rules);
    default:
      throw new Error(`unknown decoder type ${JSON.stringify(rules.type)}`);
  }
}

const BYTES = new Map(LETTERS.map((letter, byte) => [letter, byte]));

/** An added token may have letters that stand for no byte: it is read as it is written. */
function byteLevel(tokens: readonly string[]): string[] {
  const all: number[] = [];
  for (const token of tokens) {
    const bytes = Array.from(token, (letter) => BYTES.get(letter));
    for (const byte of bytes.includes(undefined) ? new TextEncoder().encode(token) : bytes) all.push(byte!);
  }
  return [new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(all))];
}

/** Bytes in a row that are no UTF-8 are unknown characters, one each. */
function byteFallback(tokens: readonly string[]): string[] {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const texts: string[] = [];
  let bytes: number[] = [];
  const flush = () => {
    if (bytes.length === 0) return;
    try {
      texts.push(decoder.decode(Uint8Array.from(bytes)));
    } catch {
      for (const _ of bytes) texts.push('\ufffd');
    }
    bytes = [];
  };
  for (const token of tokens) {
    const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1];
    if (byte !== undefined) bytes.push(Number.parseInt(byte, 16));
    else {
      flush();
      texts.push(token);
    }
  }
  flush();
  return texts;
}

/** What English has before punctuation marks and in contractions, and how it is written. */
const TIDY: [from: string, to: string][] = [
  [' .', '.'],
  [' ?', '?'],
  [' !', '!'],
  [' ,', ','],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [' do not', " don't"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
];

function wordPiece({ prefix: given, cleanup }: Rules): Step {
  const prefix = String(given ?? '##');
  const spaced = (token: string) => (token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`);
  return (tokens) =>
    tokens.map((token, i) => {
      const text = i === 0 ? token : spaced(token);
      return cleanup === false
        ? text
        : TIDY.reduce((before, [from, to]) => before.replaceAll(from, to), text);
    });
}

function metaspace({ replacement = '▁', prepend_scheme, add_prefix_space }: Rules): Step {
  const sign = String(replacement);
  const isBare = prepend_scheme === 'never' || (prepend_scheme === undefined && add_prefix_space === false);
  return (tokens) => tokens.map((token, i) => token.replaceAll(sign, i === 0 && !isBare ? '' : ' '));
}

function strip({ content, start, stop }: Rules): Step {
  const [first, last] = [Number(start ?? 0), Number(stop ?? 0)];
  return (tokens) =>
    tokens.map((token) => {
      const chars = [...token];
      let [from, to] = [0, chars.length];
      while (from < Math.min(first, to) && chars[from] === content) from++;
      while (to > from && chars.length - to < last && chars[to - 1] === content) to--;
      return chars.slice(from, to).join('');
    });
}
