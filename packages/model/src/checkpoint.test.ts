import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Device } from '@s3t/engine';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openCheckpoint } from './checkpoint.ts';
import { ModelError } from './errors.ts';
import { loadBaseModel, placeBaseModel } from './model.ts';
import { writeSafetensors } from './safetensors.ts';
import { TINY, tinyWeights } from './testing/tiny.ts';
import { loadVit, parseVitConfig, tokenCount, vitParameters } from './vit.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3t-checkpoint-'));
});
afterAll(() => rm(folder, { recursive: true }));

const CONFIG = JSON.stringify({ model_type: 'vit', ...TINY });
const PREPROCESSOR = JSON.stringify({
  size: { width: 8, height: 8 },
  image_mean: [0.5, 0.5, 0.5],
  image_std: [0.5, 0.5, 0.5],
});
const weights = tinyWeights();
const entries = new Map(
  vitParameters(TINY).map(({ name, shape }) => [
    `vit.${name}`,
    { shape, values: weights.get(`vit.${name}`)! },
  ]),
);
const WEIGHTS = writeSafetensors(entries);

const write = (name: string, content: string | Uint8Array) => writeFile(join(folder, name), content);
beforeEach(async () => {
  await write('config.json', CONFIG);
  await write('preprocessor_config.json', PREPROCESSOR);
  await write('model.safetensors', WEIGHTS);
});

/** The digest of the folder's checkpoint. */
async function digestOf(): Promise<string> {
  const { digest, tensors } = await openCheckpoint(folder);
  await tensors.close();
  return digest;
}

describe('openCheckpoint', () => {
  it('reads a folder in Hugging Face layout', async () => {
    const checkpoint = await openCheckpoint(folder);
    expect(checkpoint.folder).toBe(folder);
    expect(checkpoint.config).toEqual(JSON.parse(CONFIG));
    expect([...checkpoint.companions]).toEqual([['preprocessor_config.json', JSON.parse(PREPROCESSOR)]]);
    expect([...checkpoint.tensors.names()].sort()).toEqual([...entries.keys()].sort());
    await checkpoint.tensors.close();
  });

  it('identifies it by the digests of its files', async () => {
    const sha256 = (...parts: (string | Uint8Array)[]) => {
      const hash = createHash('sha256');
      for (const part of parts) hash.update(part);
      return hash.digest();
    };
    const expected = sha256(sha256(CONFIG), sha256(PREPROCESSOR), sha256(WEIGHTS)).toString('hex');
    expect(await digestOf()).toBe(expected);
  });

  it('is another base when any byte of any file changes', async () => {
    const digests = new Set([await digestOf()]);
    const spoiled = WEIGHTS.slice();
    spoiled[spoiled.length - 1]! ^= 1;
    for (const [name, content, before] of [
      ['config.json', `${CONFIG} `, CONFIG],
      ['preprocessor_config.json', `${PREPROCESSOR}\n`, PREPROCESSOR],
      ['model.safetensors', spoiled, WEIGHTS],
    ] as const) {
      await write(name, content);
      digests.add(await digestOf());
      await write(name, before);
    }
    expect(digests.size).toBe(4);
  });

  it('takes a chat template out of the file that newer versions of transformers write, which is part of the base', async () => {
    const name = 'chat_template.jinja';
    const chatOf = async () => {
      const { tensors, companions, digest } = await openCheckpoint(folder);
      await tensors.close();
      return { digest, chat: companions.get(name)?.chat_template };
    };
    const without = await chatOf();
    await write(name, '{{ messages }}');
    const found = await chatOf();
    await write(name, '{{ messages[0] }}');
    const other = await chatOf();
    const chats = [without, found, other].map(({ chat }) => chat);
    expect(chats).toEqual([undefined, '{{ messages }}', '{{ messages[0] }}']);
    expect(new Set([without, found, other].map(({ digest }) => digest)).size).toBe(3);
    await writeFile(join(folder, name), Buffer.from('{{ messages }}\xff', 'latin1'));
    await expect(openCheckpoint(folder)).rejects.toThrow(
      new ModelError(`${join(folder, name)}: is not UTF-8`),
    );
    await unlink(join(folder, name));
    await mkdir(join(folder, name));
    await expect(openCheckpoint(folder)).rejects.toThrow(
      new ModelError(`${join(folder, name)}: cannot be read (EISDIR)`),
    );
    await rm(join(folder, name), { recursive: true });
  });

  it.each(['config.json', 'model.safetensors'])('names a missing %s', async (name) => {
    await unlink(join(folder, name));
    await expect(openCheckpoint(folder)).rejects.toThrow(
      new ModelError(`${join(folder, name)}: there is no such file`),
    );
  });

  it('names a file that cannot be read', async () => {
    await unlink(join(folder, 'config.json'));
    await mkdir(join(folder, 'config.json'));
    await expect(openCheckpoint(folder)).rejects.toThrow(
      new ModelError(`${join(folder, 'config.json')}: cannot be read (EISDIR)`),
    );
    await rm(join(folder, 'config.json'), { recursive: true });
  });

  it.each(['config.json', 'preprocessor_config.json'])('names a damaged %s', async (name) => {
    for (const [content, problem] of [
      ['', 'is not JSON'],
      ['{"a":', 'is not JSON'],
      [Buffer.from('{"a":"\xff"}', 'latin1'), 'is not JSON'],
      ['null', 'is not a JSON object'],
      ['7', 'is not a JSON object'],
      ['[{}]', 'is not a JSON object'],
    ] as const) {
      await write(name, content);
      await expect(openCheckpoint(folder)).rejects.toThrow(
        new ModelError(`${join(folder, name)}: ${problem}`),
      );
    }
  });

  it('names damaged weights', async () => {
    await write('model.safetensors', WEIGHTS.subarray(0, -4));
    const failed = openCheckpoint(folder);
    await expect(failed).rejects.toThrow(ModelError);
    await expect(failed).rejects.toThrow(`${join(folder, 'model.safetensors')}: tensor `);
  });
});

describe('parseVitConfig', () => {
  const valid = { model_type: 'vit', ...TINY };
  const parse = (change: Record<string, unknown>) =>
    parseVitConfig({ ...valid, ...change }, 'base/config.json');

  it('reads the fields by their names, with the defaults of transformers', () => {
    const { hidden_act: _, layer_norm_eps: __, qkv_bias: ___, ...least } = valid;
    const parsed = parseVitConfig(least, 'config.json');
    expect(parsed).toMatchObject({ ...TINY, layer_norm_eps: 1e-12 });
    expect(tokenCount(parsed)).toBe(5);
  });

  it.each([
    ['model_type', undefined],
    ['model_type', 'deit'],
    ['model_type', 'llama'],
    ...[
      'hidden_size',
      'num_hidden_layers',
      'num_attention_heads',
      'intermediate_size',
      'image_size',
      'patch_size',
      'num_channels',
    ].flatMap((field): [string, unknown][] =>
      [undefined, null, 0, -1, 2.5, '8', [8, 8]].map((value) => [field, value]),
    ),
    ['num_channels', 4],
    ['hidden_act', 'gelu_new'],
    ['hidden_act', 'relu'],
    ['layer_norm_eps', 0],
    ['layer_norm_eps', '1e-6'],
    ['layer_norm_eps', null],
    ['qkv_bias', false],
    ['hidden_dropout_prob', 0.1],
    ['attention_probs_dropout_prob', 0.1],
    ['image_size', 9],
    // Rows of a head are read four values at a time.
    ['hidden_size', 20],
    ['num_attention_heads', 3],
  ] as [string, unknown][])('refuses %s %j by name', (field, value) => {
    expect(() => parse({ [field]: value })).toThrow(ModelError);
    const named = field === 'num_attention_heads' && value === 3 ? 'hidden_size' : field;
    expect(() => parse({ [field]: value })).toThrow(`base/config.json: field ${named} `);
  });

  it('takes dropout of zero and fields it does not need', () => {
    expect(
      parse({ hidden_dropout_prob: 0, attention_probs_dropout_prob: 0, encoder_stride: 16 }),
    ).toMatchObject(TINY);
  });
});

describe('loadBaseModel', () => {
  let device: Device;
  beforeAll(async () => {
    device = await Device.open();
  });
  afterAll(() => device.close());

  const fails = async (message: string | RegExp) => {
    const failed = loadBaseModel(device, folder);
    await expect(failed).rejects.toThrow(ModelError);
    await expect(failed).rejects.toThrow(message);
  };

  it('puts every weight where the model looks for it', async () => {
    const base = await loadBaseModel(device, folder);
    expect(base.network.architecture).toMatchObject({ layers: 4, width: 16, tokens: 5 });
    const grey = { width: 8, height: 8, channels: 1 as const, pixels: new Uint8Array(64).fill(255) };
    expect(base.encode({ image: grey }).pixels).toEqual(new Float32Array(3 * 64).fill(1));
    expect(base.digest).toBe(await digestOf());
    const { tensors } = await openCheckpoint(folder);
    const { layers, norm, patches, classToken, positions } = await loadVit(device, TINY, tensors);
    await tensors.close();
    const value = (name: string) => weights.get(`vit.${name}`);
    expect(await classToken.read()).toEqual(value('embeddings.cls_token'));
    expect(await positions.read()).toEqual(value('embeddings.position_embeddings'));
    expect(await patches.weight.read()).toEqual(value('embeddings.patch_embeddings.projection.weight'));
    expect(await norm.bias.read()).toEqual(value('layernorm.bias'));
    expect(layers.length).toBe(4);
    expect(await layers[2]!.attentionOutput.weight.read()).toEqual(
      value('encoder.layer.2.attention.output.dense.weight'),
    );
    expect(await layers[3]!.normAfter.weight.read()).toEqual(value('encoder.layer.3.layernorm_after.weight'));
  });

  it('reads a bare ViTModel, whose names have no prefix', async () => {
    const bare = new Map([...entries].map(([name, entry]) => [name.slice('vit.'.length), entry]));
    await write('model.safetensors', writeSafetensors(bare));
    const { network } = await loadBaseModel(device, folder);
    const name = 'encoder.layer.2.attention.attention.query.weight';
    expect(await network.linearOf(2, 'query').weight.read()).toEqual(weights.get(`vit.${name}`));
  });

  it('names file and tensor when one is missing or has another shape', async () => {
    const name = 'vit.encoder.layer.1.output.dense.weight';
    const without = new Map(entries);
    without.delete(name);
    await write('model.safetensors', writeSafetensors(without));
    await fails(`${join(folder, 'model.safetensors')}: there is no tensor ${name}`);
    const { values } = entries.get(name)!;
    await write(
      'model.safetensors',
      writeSafetensors(new Map(entries).set(name, { shape: [32, 16], values })),
    );
    await fails(
      `${join(folder, 'model.safetensors')}: tensor ${name} has shape [32,16], config.json asks for [16,32]`,
    );
  });

  it('names file and tensor when its numbers are of another type', async () => {
    const text = Buffer.from(WEIGHTS);
    text.write('"I32"', text.indexOf('"F32"'));
    await write('model.safetensors', text);
    await fails(/model\.safetensors: tensor \S+ holds I32, not numbers this model can use$/);
  });

  it('names file and field of a configuration it cannot follow', async () => {
    await write('config.json', JSON.stringify({ ...TINY, model_type: 'swin' }));
    await fails(
      `${join(folder, 'config.json')}: field model_type is "swin"; known are vit, bert, roberta, xlm-roberta, llama`,
    );
    await write('config.json', CONFIG);
    await write('preprocessor_config.json', '{}');
    await fails(`${join(folder, 'preprocessor_config.json')}: field size `);
  });

  it('names a preprocessor_config.json that is not there', async () => {
    await unlink(join(folder, 'preprocessor_config.json'));
    await fails(`${join(folder, 'preprocessor_config.json')}: there is no such file`);
  });

  it('refuses pictures of another size than the positions are for', async () => {
    const config = { ...JSON.parse(PREPROCESSOR), size: { width: 16, height: 8 } };
    await write('preprocessor_config.json', JSON.stringify(config));
    await fails('field size is 16 x 8, but image_size in config.json is 8');
  });

  it('leaves nothing on the device when the weights are refused', async () => {
    const { tensors, ...checkpoint } = await openCheckpoint(folder);
    const before = device.memory().liveBytes;
    const damaged = {
      ...tensors,
      stream: undefined,
      read: (name: string) =>
        name === 'vit.layernorm.bias' ? Promise.reject(new ModelError('cut short')) : tensors.read(name),
    };
    await expect(placeBaseModel(device, { ...checkpoint, tensors: damaged })).rejects.toThrow('cut short');
    await tensors.close();
    expect(device.memory().liveBytes).toBe(before);
  });
});
