import { fileURLToPath } from 'node:url';
import { Device } from '@s3t/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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
