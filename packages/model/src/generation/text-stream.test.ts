import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { philox } from '@s3t/engine';
import { beforeAll, describe, expect, it } from 'vitest';
import { memorySource } from '../checkpoint/byte-source.ts';
import { openGguf } from '../gguf/gguf-store.ts';
import { ggufTokenizer } from '../gguf/gguf-tokenizer.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import { TextStream } from './text-stream.ts';

const FILE = fileURLToPath(new URL('../../../../tools/reference/gguf/tokenizer.gguf', import.meta.url));

describe('TextStream of a byte-level tokenizer', () => {
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    const { metadata } = await openGguf(memorySource(new Uint8Array(await readFile(FILE)), 'tokenizer.gguf'));
    tokenizer = ggufTokenizer(metadata, 'tokenizer.gguf');
  });

  const piecesOf = (ids: readonly number[], stop: readonly string[] = []) => {
    const stream = new TextStream((some) => tokenizer.decode(some), stop);
    const pieces = ids.map((id) => stream.push(id));
    return { pieces: [...pieces, stream.end()], stopped: stream.stopped };
  };

  it('never breaks a character, and leaves nothing out', () => {
    const text = 'grüße 🙂🙃 an alle, 你好  \n und 1234';
    const { ids } = tokenizer.encode(text, { specialTokens: false });
    const { pieces, stopped } = piecesOf(ids);
    // The faces and the Chinese take several tokens each.
    expect(ids.length).toBeGreaterThan([...text].length / 2);
    expect(pieces.join('')).toBe(text);
    expect(pieces.filter((piece) => piece.includes('\uFFFD'))).toEqual([]);
    expect(pieces.filter((piece) => piece !== '').length).toBeGreaterThan(10);
    expect(stopped).toBe(false);
  });

  it('gives at the end what is left, even half a character', () => {
    const { ids } = tokenizer.encode('a 🙂', { specialTokens: false });
    const { pieces } = piecesOf(ids.slice(0, -1));
    expect(pieces.at(-1)).toMatch(/\uFFFD/);
    expect(pieces.join('')).toBe(tokenizer.decode(ids.slice(0, -1)));
  });

  it('says of random tokens, valid or not, what they say together', () => {
    const count = tokenizer.idOf('</s>') ?? 256;
    for (let round = 0; round < 200; round++) {
      const ids = Array.from(
        { length: 24 },
        (_, i) => philox([i, round, 0, 0], [1, 2])[0] % Math.min(256, count),
      );
      expect(piecesOf(ids).pieces.join('')).toBe(tokenizer.decode(ids));
    }
  });
});

// What DecodeStream of Python's tokenizers 0.23 says of the same tokens.
describe('TextStream of a tokenizer that marks the beginnings of words, as that of Llama 2', () => {
  const tokenizer = wordTokenizer();
  const decode = (ids: readonly number[]) => tokenizer.decode(ids);
  const ids = (...tokens: string[]) => tokens.map((token) => tokenizer.idOf(token)!);
  const PROMPT = ids('<s>', '▁a', '▁b');
  const GENERATED = ids('▁ab', '▁c');

  const said = (before: readonly number[], generated: readonly number[], stop: readonly string[] = []) => {
    const stream = new TextStream(decode, stop, before);
    const pieces = generated.map((id) => stream.push(id));
    return [...pieces, stream.end()];
  };

  it('keeps the space before the first word that goes on with a prompt', () => {
    expect(said(PROMPT, GENERATED)).toEqual([' ab', ' c', '']);
    expect(decode(PROMPT) + said(PROMPT, GENERATED).join('')).toBe(decode([...PROMPT, ...GENERATED]));
  });

  it('leaves it out where a text begins', () => {
    expect(said([], GENERATED)).toEqual(['ab', ' c', '']);
    expect(said(ids('<s>'), GENERATED)).toEqual(['ab', ' c', '']);
  });

  it('looks past special tokens, halves of characters and spaces at the end of the prompt', () => {
    expect(said([...PROMPT, ...ids('</s>', '<s>')], GENERATED)).toEqual([' ab', ' c', '']);
    const smile = ids('<0xF0>', '<0x9F>', '<0x99>', '<0x82>');
    expect(said([...PROMPT, ...smile], GENERATED)).toEqual([' ab', ' c', '']);
    expect(said(ids('<s>', '▁'), ids('▁ab'))).toEqual([' ab', '']);
    expect(said(PROMPT, [...ids('▁'), ...smile, ...ids('▁a')])).toEqual([' ', '', '', '', '🙂', ' a', '']);
    expect(said([...PROMPT, ...smile.slice(0, 2)], [...smile.slice(2), ...ids('▁a')]).join('')).toMatch(
      / a$/,
    );
  });

  it('finds a stop string that begins with that space', () => {
    expect(said(PROMPT, GENERATED, [' c'])).toEqual([' ab', '', '']);
    expect(said(PROMPT, GENERATED, [' a'])).toEqual(['', '', '']);
    expect(said([], GENERATED, [' a'])).toEqual(['ab', ' c', '']);
  });
});

describe('stop strings', () => {
  /** A token is a character. */
  const pieces = (text: string, stop: readonly string[]) => {
    const stream = new TextStream((ids) => String.fromCharCode(...ids), stop);
    const out: string[] = [];
    for (const character of text) {
      out.push(stream.push(character.charCodeAt(0)));
      if (stream.stopped) break;
    }
    return { out, end: stream.end(), stopped: stream.stopped };
  };

  it('end the text before the first of them', () => {
    const { out, end, stopped } = pieces('hello END more', ['more', 'END']);
    expect({ text: out.join(''), end, stopped }).toEqual({ text: 'hello ', end: '', stopped: true });
    expect(out).toHaveLength('hello END'.length);
  });

  it('hold back what may become one, and no more', () => {
    const { out, end, stopped } = pieces('aab aac', ['aac!', 'zz']);
    expect(out).toEqual(['', '', 'aab', ' ', '', '', '']);
    expect({ end, stopped }).toEqual({ end: 'aac', stopped: false });
  });

  it('are found where a false start goes before them', () => {
    expect(pieces('aaab', ['aab']).out).toEqual(['', '', 'a', '']);
  });

  it('are found within one token', () => {
    const stream = new TextStream((ids) => ids.map(() => 'one two three').join(''), ['two']);
    expect([stream.push(1), stream.stopped, stream.end()]).toEqual(['one ', true, '']);
  });
});

/** A tokenizer that decodes as the tokenizer.json of a Llama 2 says. */
function wordTokenizer(): Tokenizer {
  const special = ['<unk>', '<s>', '</s>'];
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
  );
  const tokens = [...special, ...bytes, '▁', ...'abc', '▁a', '▁b', '▁c', 'ab', '▁ab'];
  const string = (value: string) => ({ String: value });
  return new Tokenizer(
    {
      added_tokens: special.map((content, id) => ({
        ...{ id, content, special: true },
        ...{ single_word: false, lstrip: false, rstrip: false, normalized: false },
      })),
      normalizer: {
        type: 'Sequence',
        normalizers: [
          { type: 'Prepend', prepend: '▁' },
          { type: 'Replace', pattern: string(' '), content: '▁' },
        ],
      },
      pre_tokenizer: null,
      post_processor: null,
      decoder: {
        type: 'Sequence',
        decoders: [
          { type: 'Replace', pattern: string('▁'), content: ' ' },
          { type: 'ByteFallback' },
          { type: 'Fuse' },
          { type: 'Strip', content: ' ', start: 1, stop: 0 },
        ],
      },
      model: {
        ...{ type: 'BPE', unk_token: '<unk>', fuse_unk: true, byte_fallback: true, ignore_merges: false },
        vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
        merges: ['▁ a', '▁ b', '▁ c', 'a b', '▁a b'].map((pair) => pair.split(' ')),
      },
    },
    {},
    'tokenizer.json',
  );
}
