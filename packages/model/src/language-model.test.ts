import { cp, mkdtemp, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Device } from '@s3t/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ModelError } from './errors.ts';
import { Decoder } from './generation/decoder.ts';
import { generate } from './generation/generate.ts';
import type { LanguageModel } from './language-model.ts';
import { type BaseModel, loadBaseModel } from './model.ts';

const FOLDER = fileURLToPath(new URL('../../../tools/reference/llama/llama3', import.meta.url));
const LENGTH = 12;

let device: Device;
let base: BaseModel;
let language: LanguageModel;
beforeAll(async () => {
  device = await Device.open();
  base = await loadBaseModel(device, FOLDER, { maxLength: LENGTH });
  language = base.language!;
});
afterAll(() => device.close());

const idsOf = (text: string) => language.tokenizer.encode(text, { specialTokens: false }).ids;
const filled = (ids: readonly number[]) =>
  Uint32Array.from({ length: LENGTH }, (_, i) => (i < ids.length ? ids[i]! : 0));

describe('a language model', () => {
  it('reads a text after the token that starts one', () => {
    expect(base.encode({ text: 'a b' }).ids).toEqual(filled([1, ...idsOf('a b')]));
  });

  it('reads a prompt, its response and the token that ends one, as far as they fit', () => {
    const example = { prompt: 'a+b=', response: 'c' };
    expect(base.encode(example).ids).toEqual(filled([1, ...idsOf('a+b=c'), 2]));
    const long = { prompt: 'a+b=', response: 'cdefghijklmn' };
    expect(base.encode(long).ids).toEqual(filled([1, ...idsOf('a+b=cdefghi')]));
  });

  it('learns what follows: of all tokens, or of the response and its end', () => {
    const example = { prompt: 'a+b=', response: 'cd' };
    const ids = [1, ...idsOf('a+b=cd'), 2];
    const all = language.nextTokens(example, 'all');
    expect(all.labels.slice(0, 7)).toEqual(Uint32Array.from(ids.slice(1)));
    expect([...all.weights]).toEqual([1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0]);
    expect([...language.nextTokens(example, 'response').weights]).toEqual([
      0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0,
    ]);
  });

  it('refuses pictures, and more tokens than there are positions', async () => {
    const image = { width: 1, height: 1, channels: 1 as const, pixels: new Uint8Array(1) };
    expect(() => base.encode({ image })).toThrow(`${FOLDER}: this base reads texts, not pictures`);
    await expect(loadBaseModel(device, FOLDER, { maxLength: 1025 })).rejects.toThrow(
      'data.maxLength: 1025 is more than the 1024 positions of the base',
    );
  });
});

describe('generation_config.json', () => {
  const prompt = { prompt: 'a+b=', response: 'c' };
  let folder: string;
  let file: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 's3t-language-'));
    await cp(FOLDER, folder, { recursive: true });
    file = join(folder, 'generation_config.json');
  });
  afterAll(() => rm(folder, { recursive: true }));

  const load = async (content: unknown) => {
    await writeFile(file, JSON.stringify(content));
    return loadBaseModel(device, folder, { maxLength: LENGTH });
  };
  /** What greedy decoding says, to its end. */
  const said = async (model: LanguageModel) => {
    const decoder = new Decoder(model);
    const tokens: number[] = [];
    let finish: string | null = null;
    for await (const piece of generate(decoder, [1, 5, 9])) {
      tokens.push(piece.token);
      finish = piece.finish;
    }
    decoder.dispose();
    return { tokens, finish };
  };

  it('says where a text ends, besides the token that stages learn to end with', async () => {
    expect((await load({ temperature: 0.6 })).language!.endTokens).toEqual([2]);
    const { tokens, finish } = await said(language);
    expect([tokens.length, finish]).toEqual([LENGTH - 2, 'length']);
    const end = tokens[0]!;
    const chat = await load({ eos_token_id: [end, 2] });
    expect(chat.language!.endTokens).toEqual([end, 2]);
    expect(await said(chat.language!)).toEqual({ tokens: [end], finish: 'stop' });
    expect((await load({ eos_token_id: end })).language!.endTokens).toEqual([end, 2]);
  });

  it('changes neither what is learnt nor what the base is known by', async () => {
    const chat = await load({ eos_token_id: 7 });
    expect(chat.digest).toBe(base.digest);
    expect(chat.encode(prompt).ids).toEqual(base.encode(prompt).ids);
    await unlink(file);
    expect((await loadBaseModel(device, folder, { maxLength: LENGTH })).digest).toBe(base.digest);
  });

  it.each([['</s>'], [-1], [[2, 1.5]], [{}]])('is refused by its field: %j', async (eos_token_id) => {
    await expect(load({ eos_token_id })).rejects.toThrow(
      new ModelError(
        `${file}: field eos_token_id must be the number of a token, or several, not ${JSON.stringify(eos_token_id)}`,
      ),
    );
  });
});

describe('a chat prompt', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 's3t-chat-'));
    await cp(FOLDER, folder, { recursive: true });
  });
  afterAll(() => rm(folder, { recursive: true }));

  const [CONFIG, TEMPLATE] = ['tokenizer_config.json', 'chat_template.jinja'];
  const prompt = async (files: Record<string, string>) => {
    for (const name of [CONFIG, TEMPLATE]) await rm(join(folder, name), { force: true });
    for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
    const chat = (await loadBaseModel(device, folder, { maxLength: LENGTH })).language!;
    return chat.chatPrompt([{ role: 'user', content: 'hi' }]);
  };

  // Each as transformers 5.24 renders it.
  it.each([
    ['{}', 'jinja hi'],
    ['{"chat_template":null}', 'jinja hi'],
    ['{"chat_template":"own","bos_token":"<s>"}', '<s>jinja hi'],
    ['{"chat_template":[{"name":"default","template":"own"}]}', 'jinja hi'],
  ])('is that of chat_template.jinja, whatever tokenizer_config.json says: %s', async (config, expected) => {
    const template = '{{ bos_token }}jinja {{ messages[0].content }}';
    expect(await prompt({ [CONFIG]: config, [TEMPLATE]: template })).toBe(expected);
  });

  it('is that of chat_template.jinja where there is no tokenizer_config.json', async () => {
    expect(await prompt({ [TEMPLATE]: 'jinja {{ messages[0].content }}' })).toBe('jinja hi');
  });

  it('is that of tokenizer_config.json where there is no other', async () => {
    expect(await prompt({ [CONFIG]: '{"chat_template":"own"}' })).toBe('own');
    for (const files of [{}, { [CONFIG]: '{"chat_template":null}' }])
      await expect(prompt(files)).rejects.toThrow(new ModelError('the base has no chat template'));
  });

  it('names the file whose template cannot be read', async () => {
    await expect(prompt({ [CONFIG]: '{"chat_template":"own"}', [TEMPLATE]: '{% if %}' })).rejects.toThrow(
      /^chat_template\.jinja: field chat_template cannot be read/,
    );
  });
});
