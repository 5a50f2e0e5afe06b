import { describe, expect, it } from 'vitest';
import { ggufGenerationConfig } from './gguf-end-tokens.ts';
import type { GgufValue } from './gguf-header.ts';

const [NORMAL, CONTROL] = [1, 3];

describe('ggufGenerationConfig', () => {
  const of = (keys: Record<string, GgufValue>, tokens = ['a', 'b', '</s>', '<|turn|>', '<|message|>']) => {
    const all = { tokens, token_type: tokens.map((_, id) => (id < 2 ? NORMAL : CONTROL)), ...keys };
    const named = Object.entries(all).map(([key, value]) => [`tokenizer.ggml.${key}`, value] as const);
    return ggufGenerationConfig(new Map<string, GgufValue>(named), 't.gguf');
  };

  it('ends texts at the end of a turn and of a message, too', () => {
    expect(of({ eos_token_id: 2, eot_token_id: 3 })).toEqual({ eos_token_id: [2, 3] });
    expect(of({ eos_token_id: 2, eot_token_id: 2, eom_token_id: 4 })).toEqual({ eos_token_id: [2, 4] });
    expect(of({ eot_token_id: 3 })).toEqual({ eos_token_id: [3] });
  });

  it('knows by their texts the tokens that a file has no keys for, unless they are text', () => {
    const tokens = ['<|im_end|>', 'b', '<|end_of_text|>', '<|eot_id|>', '<|eom_id|>'];
    expect(of({ eos_token_id: 2 }, tokens)).toEqual({ eos_token_id: [2, 3, 4] });
  });

  it('is nothing where config.json says it all', () => {
    expect(of({ eos_token_id: 2 })).toBeNull();
    expect(of({})).toBeNull();
  });

  it.each([
    ['eot_token_id', 5],
    ['eom_token_id', 'b'],
    ['eos_token_id', 1.5],
  ])('refuses %s %j', (key, id) => {
    expect(() => of({ [key]: id })).toThrow(
      `t.gguf: metadata tokenizer.ggml.${key} must be the number of a token`,
    );
  });
});
