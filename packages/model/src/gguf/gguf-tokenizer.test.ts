// Against the tokenizers package of Python with the vocabulary of the same file: tools/reference/gguf.py.

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { fileSource } from '../checkpoint/byte-source.ts';
import type { GgufValue } from './gguf-header.ts';
import { openGguf } from './gguf-store.ts';
import { ggufTokenizer } from './gguf-tokenizer.ts';

const path = (name: string) =>
  fileURLToPath(new URL(`../../../../tools/reference/gguf/${name}`, import.meta.url));

describe('ggufTokenizer', async () => {
  const { texts, ids } = JSON.parse(await readFile(path('tokenizer.json'), 'utf8')) as {
    texts: string[];
    ids: Record<string, number[][]>;
  };
  const store = await openGguf(await fileSource(path('tokenizer.gguf')));
  await store.close();
  const build = (change: Record<string, GgufValue>) => {
    const changed = Object.entries(change).map(([key, value]): [string, GgufValue] => [
      `tokenizer.ggml.${key}`,
      value,
    ]);
    return ggufTokenizer(new Map([...store.metadata, ...changed]), 't.gguf');
  };

  it.each(Object.keys(ids))('splits as %s', (pre) => {
    const tokenizer = build({ pre, add_bos_token: false });
    texts.forEach((text, i) => {
      expect(tokenizer.encode(text).ids, JSON.stringify(text)).toEqual(ids[pre]![i]);
    });
    expect(texts.length).toBeGreaterThan(100);
  });

  it('begins with the first token where the file or the model says so', () => {
    const plain = build({}).encode('Four score').ids;
    expect(build({ add_bos_token: true }).encode('Four score').ids).toEqual([0, ...plain]);
    expect(build({ pre: 'llama-bpe' }).encode('', {}).ids).toEqual([0]);
    expect(build({ add_eos_token: false }).encode('Four score').ids).toEqual(plain);
    expect(build({}).decode([0, ...plain, 2])).toBe('Four score');
  });

  it.each([
    [{ model: 'llama' }, 'model is "llama"; only "gpt2" (byte-level BPE) is known'],
    [{ pre: 'qwen2' }, 'pre is "qwen2"; known are gpt-2, smollm, llama-bpe'],
    [{ tokens: [1, 2] }, 'tokens must be a list of texts'],
    [{ merges: 3 }, 'merges must be a list of texts'],
    [{ token_type: [1] }, 'token_type must hold 500 numbers'],
    [{ add_eos_token: true }, 'add_eos_token is true; only false is known: a prompt would end'],
    [{ add_bos_token: true, bos_token_id: 500 }, 'bos_token_id must be the number of a token'],
  ] as [Record<string, GgufValue>, string][])('refuses %j', (change, problem) => {
    expect(() => build(change)).toThrow(`t.gguf: metadata tokenizer.ggml.${problem}`);
  });
});
