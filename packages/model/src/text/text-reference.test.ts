// Against the tokenizers and transformers packages of Python: tools/reference/text_tokenizers.py.

import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ModelError } from '../errors.ts';
import { type ChatMessage, ChatTemplate } from './chat-template.ts';
import { loadTokenizer } from './load-tokenizer.ts';
import type { Strategy } from './truncate.ts';

interface Reference {
  single: [text: string, ids: number[], types: number[]][];
  pairs: [first: string, second: string, ids: number[], types: number[]][];
  plain: [text: string, ids: number[]][];
  decoded: [ids: number[], text: string][];
  cut: [
    first: string,
    second: string | null,
    length: number,
    Strategy,
    ids: number[] | null,
    types: number[] | string,
  ][];
  batch: [text: string, ids: number[], mask: number[], types: number[]][];
}

const path = (name: string) =>
  fileURLToPath(new URL(`../../../../tools/reference/tokenizers/${name}`, import.meta.url));
const json = (name: string) => JSON.parse(readFileSync(path(name), 'utf8'));

describe.each([
  ['bert', 0],
  ['roberta', 1],
])('the %s tokenizer', async (name, padId) => {
  const tokenizer = await loadTokenizer(path(name));
  const reference = json(`${name}/reference.json`) as Reference;

  it('encodes single texts', () => {
    expect(reference.single.length).toBeGreaterThan(200);
    for (const [text, ids, typeIds] of reference.single)
      expect(tokenizer.encode(text), JSON.stringify(text)).toEqual({ ids, typeIds });
  });

  it('encodes pairs', () => {
    for (const [first, second, ids, typeIds] of reference.pairs)
      expect(tokenizer.encode([first, second]), JSON.stringify([first, second])).toEqual({ ids, typeIds });
  });

  it('encodes without special tokens', () => {
    for (const [text, ids] of reference.plain)
      expect(tokenizer.encode(text, { specialTokens: false }).ids, JSON.stringify(text)).toEqual(ids);
  });

  it('truncates', () => {
    const count = { cut: 0, refused: 0 };
    for (const [first, second, maxLength, truncation, ids, typeIds] of reference.cut) {
      const encode = () =>
        tokenizer.encode(second === null ? first : [first, second], { maxLength, truncation });
      if (ids) expect(encode()).toEqual({ ids, typeIds });
      else expect(encode).toThrow(ModelError);
      count[ids ? 'cut' : 'refused']++;
    }
    expect(count.cut).toBeGreaterThan(50);
    expect(count.refused).toBeGreaterThan(10);
  });

  it('fills the rows of a batch', () => {
    const { ids, mask, typeIds } = tokenizer.encodeBatch(
      reference.batch.map(([text]) => text),
      { length: 12, padId },
    );
    expect([...ids]).toEqual(reference.batch.flatMap(([, row]) => row));
    expect([...mask]).toEqual(reference.batch.flatMap(([, , row]) => row));
    expect([...typeIds]).toEqual(reference.batch.flatMap(([, , , row]) => row));
  });

  it('decodes', () => {
    for (const [ids, text] of reference.decoded) expect(tokenizer.decode(ids)).toBe(text);
    expect(tokenizer.decode([])).toBe('');
  });

  it('refuses a limit below its special tokens', () => {
    expect(() => tokenizer.encode('a', { maxLength: 1 })).toThrow('tokenizer.json: 1 tokens leave no room');
  });
});

describe('loadTokenizer', () => {
  it('names a file that is missing or makes no tokenizer', async () => {
    const folder = await mkdtemp(join(tmpdir(), 's3t-tokenizer-'));
    const file = join(folder, 'tokenizer.json');
    await expect(loadTokenizer(folder)).rejects.toThrow(`${file}: there is no such file`);
    for (const content of ['{}', '{"model":{"type":"Guess","vocab":{}}}']) {
      await writeFile(file, content);
      await expect(loadTokenizer(folder)).rejects.toThrow(`${file}: makes no tokenizer (`);
    }
    await rm(folder, { recursive: true });
  });
});

describe('ChatTemplate', () => {
  const { template, cases } = json('chat.json') as {
    template: string;
    cases: { messages: ChatMessage[]; generate: boolean; text: string }[];
  };
  const chat = new ChatTemplate({ chat_template: template, eos_token: { content: '</s>' } }, 'c.json');

  it.each(cases)('renders conversation %# as transformers does', ({ messages, generate, text }) => {
    expect(chat.render(messages, generate)).toBe(text);
  });

  it('tells a template what transformers does: all special tokens, and that there are no tools', () => {
    const chat_template =
      '{{ pad_token }}{{ sep_token }}{% if tools is defined and tools is none and documents is none %} plain{% endif %}';
    const tokens = { pad_token: '<pad>', sep_token: { content: '[SEP]' } };
    expect(new ChatTemplate({ chat_template, ...tokens }, 'c.json').render([], false)).toBe(
      '<pad>[SEP] plain',
    );
  });

  it('says what is wrong in one line', () => {
    expect(() => chat.render([{ role: 'tool', content: '' }], false)).toThrow(
      'c.json: field chat_template refuses the conversation (no role tool)',
    );
    const several = [
      { name: 'tool_use', template: 'tools' },
      { name: 'default', template: 'plain' },
    ];
    expect(new ChatTemplate({ chat_template: several }, 'c.json').render([], false)).toBe('plain');
    expect(() => new ChatTemplate({ chat_template: several.slice(0, 1) }, 'c.json')).toThrow(
      'must be a text',
    );
    expect(() => new ChatTemplate({}, 'c.json')).toThrow('c.json: field chat_template must be a text');
    expect(() => new ChatTemplate({ chat_template: '{% if %}' }, 'c.json')).toThrow(
      /^c\.json: field chat_template cannot be read \(.+\)$/,
    );
  });
});
