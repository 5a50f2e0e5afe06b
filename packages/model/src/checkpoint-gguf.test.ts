import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Device } from '@s3t/engine';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readJson } from './checkpoint/open-tensors.ts';
import { openCheckpoint } from './checkpoint.ts';
import { ModelError } from './errors.ts';
import { resolveBase } from './hub/resolve-base.ts';
import { loadBaseModel, placeBaseModel } from './model.ts';
import { copyCompanions } from './peft/merged-model.ts';

const reference = (name: string) =>
  fileURLToPath(new URL(`../../../tools/reference/gguf/${name}`, import.meta.url));
/** Weights without a tokenizer, and a tokenizer without weights. */
const [LLAMA, TOKENIZER] = [reference('llama.gguf'), reference('tokenizer.gguf')];
const TEMPLATE = '{{ bos_token }}Say {{ messages[0].content }}!';

const text = (value: string) => {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(value)));
  return Buffer.concat([length, Buffer.from(value)]);
};
/** A key of the metadata whose value is a text. */
const key = (name: string, value: string) => Buffer.concat([text(name), Buffer.of(8, 0, 0, 0), text(value)]);
/** One whose value is a u32 below 256. */
const small = (name: string, value: number) =>
  Buffer.concat([text(name), Buffer.of(4, 0, 0, 0, value, 0, 0, 0)]);

let folder: string;
let device: Device;
/** Both in one file, with a chat template. */
let whole: string;
beforeAll(async () => {
  device = await Device.open();
  folder = await mkdtemp(join(tmpdir(), 's3t-gguf-'));
  whole = join(folder, 'whole.gguf');
  const [weights, tokenizer] = [await readFile(LLAMA), await readFile(TOKENIZER)];
  const tensors = weights.indexOf('token_embd.weight') - 8;
  const last = 'tokenizer.ggml.eos_token_id';
  const keys = Buffer.concat([
    tokenizer.subarray(tokenizer.indexOf('tokenizer.ggml.') - 8, tokenizer.indexOf(last) + last.length + 8),
    key('tokenizer.chat_template', TEMPLATE),
    small('tokenizer.ggml.eot_token_id', 7),
  ]);
  const empty = key('padding', '').length;
  // Data is aligned to 32 bytes: what is put before it must not move it off.
  const padding = key('padding', ' '.repeat((64 - ((keys.length + empty) % 32)) % 32));
  const header = Buffer.from(weights.subarray(0, 24));
  const added = tokenizer.readBigUInt64LE(16) - 1n + 3n;
  header.writeBigUInt64LE(header.readBigUInt64LE(16) + added, 16);
  await writeFile(
    whole,
    Buffer.concat([header, weights.subarray(24, tensors), keys, padding, weights.subarray(tensors)]),
  );
});
afterAll(async () => {
  device.close();
  await rm(folder, { recursive: true });
});

it('is opened as a folder would be: configuration, tokenizer, tensors, and a digest of the file', async () => {
  const { config, companions, tensors, digest } = await openCheckpoint(whole);
  await tensors.close();
  expect(config).toMatchObject({ model_type: 'llama', num_hidden_layers: 2, hidden_size: 32 });
  expect([...companions.keys()]).toEqual([
    'tokenizer.json',
    'tokenizer_config.json',
    'generation_config.json',
  ]);
  expect(companions.get('generation_config.json')).toEqual({ eos_token_id: [2, 7] });
  const [bos_token, eos_token] = ['<s>', '</s>'];
  expect(companions.get('tokenizer_config.json')).toEqual({ bos_token, eos_token, chat_template: TEMPLATE });
  expect(tensors.has('model.layers.1.mlp.down_proj.weight')).toBe(true);
  const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();
  expect(digest).toBe(sha256(sha256(await readFile(whole))).toString('hex'));
});

it('becomes a base that reads texts', async () => {
  const checkpoint = await openCheckpoint(whole);
  const [rows] = checkpoint.tensors.info('model.embed_tokens.weight').shape;
  const config = { ...checkpoint.config, vocab_size: rows };
  const base = await placeBaseModel(device, { ...checkpoint, config }, { maxLength: 4 });
  await checkpoint.tensors.close();
  const { tokenizer } = base.language!;
  expect([...(base.encode({ text: '!' }).ids as Uint32Array)]).toEqual([
    ...tokenizer.encode('!').ids,
    0,
    0,
    0,
  ]);
  expect(tokenizer.decode(tokenizer.encode('!').ids)).toBe('!');
  expect(base.language!.endTokens).toEqual([2, 7]);
  expect(base.language!.chatPrompt([{ role: 'user', content: 'hi' }])).toBe('<s>Say hi!');
});

it('leaves to an exported folder the files that its header stands for', async () => {
  const { tensors, ...checkpoint } = await openCheckpoint(whole);
  await tensors.close();
  const out = join(folder, 'exported');
  await mkdir(out);
  await copyCompanions(checkpoint, out);
  expect(await readJson(join(out, 'generation_config.json'))).toEqual({ eos_token_id: [2, 7] });
  for (const [name, content] of checkpoint.companions)
    expect(await readJson(join(out, name))).toEqual(JSON.parse(JSON.stringify(content)));
});

it('is a path and never a hub id', async () => {
  expect(await resolveBase('models/some.gguf', { folder: '/data' })).toBe('/data/models/some.gguf');
});

it('is refused by name: no such file, no tokenizer, no Llama', async () => {
  const missing = join(folder, 'missing.gguf');
  await expect(loadBaseModel(device, missing)).rejects.toThrow(
    new ModelError(`${missing}: there is no such file`),
  );
  await expect(loadBaseModel(device, LLAMA)).rejects.toThrow(
    new ModelError(`${LLAMA}: holds no tokenizer.json`),
  );
  const other = join(folder, 'other.gguf');
  await writeFile(
    other,
    Buffer.from((await readFile(LLAMA)).toString('latin1').replace('llama', 'llamb'), 'latin1'),
  );
  await expect(loadBaseModel(device, other)).rejects.toThrow(
    new ModelError(`${other}: metadata general.architecture is "llamb"; only "llama" is known`),
  );
});
