// Against the tokenizers package of Python: tools/reference/text_tokenizer_rules.py.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Tokenizer } from './tokenizer.ts';

type Case = [first: string, second: string | null, ids: number[], types: number[], text: string];

interface Rules {
  /** The tokenizer that has the fields which are not among the rules. */
  base: string | null;
  rules: Record<string, unknown>;
  topics: Record<string, Case[]>;
}

const folder = new URL('../../../../tools/reference/tokenizers/', import.meta.url);
const json = (name: string) => JSON.parse(readFileSync(new URL(name, folder), 'utf8'));
const reference = json('rules.json') as Record<string, Rules>;

describe.each(Object.entries(reference))('the tokenizer "%s"', (name, { base, rules, topics }) => {
  const tokenizer = new Tokenizer({ ...(base ? json(`${base}/tokenizer.json`) : {}), ...rules }, {}, name);

  it.each(Object.entries(topics))('encodes and decodes as tokenizers does: %s', (_, cases) => {
    for (const [first, second, ids, typeIds, text] of cases) {
      const what = JSON.stringify([first, second]);
      const encoded = tokenizer.encode(second === null ? first : [first, second]);
      expect(encoded, what).toEqual({ ids, typeIds });
      expect(tokenizer.decode(encoded.ids), what).toBe(text);
    }
  });
});

describe('Tokenizer', () => {
  const make = (json: Record<string, unknown>) => new Tokenizer(json, {}, 't.json');
  const bert = json('bert/tokenizer.json');

  it('keeps tokens that are found in a text out of its words', () => {
    const added_tokens = [{ id: 2, content: 'sun', single_word: true }];
    const model = { type: 'WordPiece', vocab: { '[UNK]': 0, s: 1 }, unk_token: '[UNK]' };
    const { ids } = make({ model, added_tokens, pre_tokenizer: { type: 'WhitespaceSplit' } }).encode(
      'sun sunset s',
    );
    expect(ids).toEqual([2, 0, 1]);
  });

  it('leaves special tokens out of a text, also where they are normalised', () => {
    const llama = make(reference.prepend!.rules);
    expect(llama.decode(llama.encode('<s> light </s>').ids)).toBe('light');
  });

  it('reads any length of unknown characters', () => {
    const bytes = Array.from({ length: 256 }, (_, byte) => [
      `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
      -9,
    ]);
    const model = { type: 'Unigram', unk_id: 0, byte_fallback: true, vocab: [['<unk>', 0], ...bytes] };
    expect(make({ model }).encode('é'.repeat(100_000)).ids.length).toBe(200_000);
  });

  it('says what makes no tokenizer', () => {
    const wrong: [Record<string, unknown>, RegExp][] = [
      [
        { model: { ...bert.model, vocab: { a: -1 } } },
        /^t\.json: makes no tokenizer \(token "a" has no number\)$/,
      ],
      [{ model: { type: 'BPE', vocab: { a: 0 }, merges: ['a b'] } }, /merges name "b", which is no token/],
      [{ added_tokens: [{ content: 'a' }] }, /an entry of added_tokens has no text or no number/],
      [
        { normalizer: { type: 'Precompiled', precompiled_charsmap: '/////w==' } },
        /precompiled_charsmap is cut off/,
      ],
      [{ normalizer: { type: 'Guess' } }, /unknown normalizer type "Guess"/],
      [{ pre_tokenizer: { type: 'Split', pattern: {} } }, /a pattern has neither String nor Regex/],
      [{ post_processor: { type: 'RobertaProcessing', cls: ['a', 0] } }, /post_processor\.sep has no number/],
      [{ decoder: { type: 'Guess' } }, /unknown decoder type "Guess"/],
    ];
    for (const [fields, message] of wrong) expect(() => make({ ...bert, ...fields })).toThrow(message);
  });

  it('says what it has no number for', () => {
    const model = { type: 'WordLevel', vocab: { a: 0 } };
    expect(() => make({ model }).encode('b')).toThrow(
      't.json: has no number for "b", and none for unknown tokens',
    );
  });
});
