// SentencePiece's table of what replaces what, as it lies in tokenizer.json: a double-array trie over UTF-8, and the replacements.

import type { Normalize } from './normalizers.ts';

/** Characters that may belong to the one before or after them. Without one each character stands for itself, and there is no need to look for groups. */
const JOINING =
  /[\r\p{M}\p{Cf}\p{RI}\p{EMod}\u0e33\u0eb3\uff9e\uff9f\u1100-\u11ff\ua960-\ua97f\ud7b0-\ud7ff\u0d4e\u{111c2}\u{111c3}]/u;
/** A group of more bytes is read character by character. */
const GROUP_BYTES = 6;
/** Groups and characters whose replacement is kept. */
const CACHED = 50_000;

/** @throws when the table cannot be read */
export function precompiled(base64: string): Normalize {
  const find = reader(bytesOf(base64));
  const encoder = new TextEncoder();
  const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' });
  const cache = new Map<string, string>();

  const replaced = (group: string): string => {
    const bytes = encoder.encode(group);
    const whole = bytes.length < GROUP_BYTES ? find(bytes) : null;
    if (whole !== null) return whole;
    let result = '';
    for (const char of group) result += find(encoder.encode(char)) ?? char;
    return result;
  };
  const normalizeGroup = (group: string): string => {
    let result = cache.get(group);
    if (result === undefined) {
      result = replaced(group);
      if (cache.size >= CACHED) cache.clear();
      cache.set(group, result);
    }
    return result;
  };

  return (text) => {
    let result = '';
    if (JOINING.test(text))
      for (const { segment } of segmenter.segment(text)) result += normalizeGroup(segment);
    else for (const char of text) result += normalizeGroup(char);
    return result;
  };
}

function bytesOf(base64: string): Uint8Array {
  const chars = atob(base64);
  const bytes = new Uint8Array(chars.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = chars.charCodeAt(at);
  return bytes;
}

/** What the table has for the shortest beginning of a text that it knows: that replaces the whole text, in the tokenizers package, too. */
function reader(table: Uint8Array): (text: Uint8Array) => string | null {
  const view = new DataView(table.buffer);
  if (table.length < 4 || view.getUint32(0, true) > table.length - 4)
    throw new Error('precompiled_charsmap is cut off');
  const size = view.getUint32(0, true);
  const units = new Uint32Array(size >> 2);
  for (let at = 0; at < units.length; at++) units[at] = view.getUint32(4 + 4 * at, true);
  const texts = table.subarray(4 + size);
  const decoder = new TextDecoder();
  /** The layout of a unit is that of darts-clone: label, a bit for "a value follows", and the way to the children. */
  const children = (unit: number) => (unit >>> 10) << ((unit & 0x200) >>> 6);
  return (text) => {
    let at = children(units[0] ?? 0);
    for (const byte of text) {
      at ^= byte;
      const unit = units[at];
      if (byte === 0 || unit === undefined || (unit & 0x800000ff) !== byte) return null;
      at ^= children(unit);
      if (!(unit & 0x100)) continue;
      const start = (units[at] ?? 0) & 0x7fffffff;
      const end = texts.indexOf(0, start);
      return decoder.decode(texts.subarray(start, end === -1 ? texts.length : end));
    }
    return null;
  };
}
