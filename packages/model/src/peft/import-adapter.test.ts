import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Device, uniformValues } from '@s3t/engine';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openTensors, readJson } from '../checkpoint/open-tensors.ts';
import { loadBaseModel } from '../model.ts';
import { writeSafetensors } from '../safetensors.ts';
import { sameBits } from '../testing/tiny.ts';
import { importAdapter } from './import-adapter.ts';

/** A Llama whose head is its embedding. */
const TIED = fileURLToPath(new URL('../../../../tools/reference/llama/llama3', import.meta.url));
const EMBEDDING = 'model.embed_tokens.weight';

let device: Device;
let folder: string;
let embedding: Float32Array<ArrayBuffer>;
let saved: Float32Array<ArrayBuffer>;
/** Of the embedding and the head alike. */
let shape: readonly number[];
beforeAll(async () => {
  device = await Device.open();
  folder = await mkdtemp(join(tmpdir(), 's3t-import-'));
  const tensors = await openTensors(TIED);
  embedding = await tensors.read(EMBEDDING);
  shape = tensors.info(EMBEDDING).shape;
  await tensors.close();
  saved = uniformValues(embedding.length, 1, [1, 2], 0);
});
afterAll(async () => {
  device.close();
  await rm(folder, { recursive: true });
});

/** An adapter that changes nothing, with `saved` as a module that was saved whole. */
async function writeAdapter(name: string, module: string, fields: Record<string, unknown> = {}) {
  const {
    hidden_size: width,
    num_attention_heads: heads,
    head_dim,
  } = await readJson(join(TIED, 'config.json'));
  const rows =
    (heads as number) * ((head_dim as number | undefined) ?? (width as number) / (heads as number));
  const lora = 'base_model.model.model.layers.0.self_attn.q_proj.lora_';
  const tensors = new Map([
    [`${lora}A.weight`, { shape: [2, width as number], values: new Float32Array(2 * (width as number)) }],
    [`${lora}B.weight`, { shape: [rows, 2], values: new Float32Array(2 * rows) }],
    [`base_model.model.${module}`, { shape, values: saved }],
  ]);
  const to = join(folder, name);
  await cp(TIED, to, { recursive: true });
  await writeFile(join(to, 'adapter_model.safetensors'), writeSafetensors(tensors));
  const config = { peft_type: 'LORA', r: 2, lora_alpha: 2, modules_to_save: [module], ...fields };
  await writeFile(join(to, 'adapter_config.json'), JSON.stringify(config));
  return to;
}

it.each([
  ['the head', 'lm_head.weight', {}, () => [embedding, saved]],
  ['the embedding', EMBEDDING, {}, () => [saved, embedding]],
  ['an embedding that stays the head', EMBEDDING, { ensure_weight_tying: true }, () => [saved, saved]],
])('a saved module parts the head from the embedding: %s', async (title, module, fields, expected) => {
  const adapter = await writeAdapter(title, module, fields);
  const out = join(folder, `${title} imported`);
  const base = join(folder, `${title} base`);
  await cp(TIED, base, { recursive: true });
  await writeFile(join(base, 'generation_config.json'), '{"eos_token_id": [7]}');
  await importAdapter(device, base, adapter, out);
  const { language } = await loadBaseModel(device, out);
  const { weights, endTokens } = language!;
  const [words, head] = expected();
  expect(sameBits(await weights.embedding.read(), words!)).toBe(true);
  expect(sameBits(await weights.head.weight.read(), head!)).toBe(true);
  expect(endTokens).toEqual([7, 2]);
});

it.each([
  ['model.embeddings.position_ids', null],
  ['model.layers.0.weight_of_an_int8', 'holds I64, not numbers this model can use'],
])('of whole numbers leaves out those of positions alone: %s', async (name, problem) => {
  const base = join(folder, `with ${name}`);
  await cp(TIED, base, { recursive: true });
  const file = join(base, 'model.safetensors');
  const bytes = await readFile(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString());
  const end = bytes.length - 8 - length;
  header[name] = { dtype: 'I64', shape: [1, 2], data_offsets: [end, end + 16] };
  const text = Buffer.from(JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  await writeFile(file, Buffer.concat([size, text, bytes.subarray(8 + length), Buffer.alloc(16)]));
  const out = join(folder, `without ${name}`);
  const imported = importAdapter(device, base, await writeAdapter('plain', 'lm_head.weight'), out);
  if (problem !== null) return expect(imported).rejects.toThrow(problem);
  await imported;
  const tensors = await openTensors(out);
  expect([...tensors.names()]).toContain(EMBEDDING);
  expect([...tensors.names()]).not.toContain(name);
  await tensors.close();
});
