import { Device, scope, tensor, uniformValues } from '@s3t/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LayerAdapter } from '../adapter.ts';
import { decoderLayer, embedTokens, languageModelLogits } from '../llama.ts';
import { type LlamaReference, llamaReference } from '../testing/llama-reference.ts';
import { relativeError, sameBits } from '../testing/tiny.ts';
import type { GeneratedPiece, GenerateOptions } from './continuation.ts';
import { ContinuousBatch } from './continuous-batch.ts';
import { Decoder, type DecoderOptions } from './decoder.ts';
import { generate } from './generate.ts';

type Stack = ReadonlyMap<number, LayerAdapter>;

const CAPACITY = 40;
const VOCABULARY = 128;
/** More than a step, and no whole number of them. */
const TEXT = Array.from({ length: 21 }, (_, i) => (37 * i + 5) % VOCABULARY);

let device: Device;
let reference: LlamaReference;
/** Of the layers 3 to 1, and of layer 3 alone. */
let deep: Stack;
let shallow: Stack;
beforeAll(async () => {
  device = await Device.open();
  reference = await llamaReference(device, 'llama3', CAPACITY);
  const { about, adaptersOf, named, place } = reference;
  const parameters = place(named('adapter'), 'serve');
  deep = adaptersOf([...about.frozen, ...about.trained], parameters);
  // Another one in the same layer: its queries and values of the other sign.
  const negated = [...named('adapter')].map(
    ([name, values]) =>
      [name, /[qv]_proj.lora_A/.test(name) ? values.map((value) => -value) : values] as const,
  );
  shallow = adaptersOf(about.frozen, place(new Map(negated), 'serve'));
});
afterAll(() => device.close());

const decoders: Decoder[] = [];
function open(options: DecoderOptions = {}): Decoder {
  const decoder = new Decoder(reference, options);
  decoders.push(decoder);
  return decoder;
}
afterAll(() => {
  for (const decoder of decoders) decoder.dispose();
});

/** The logits of the token after each of a text, by one pass over all of it. */
async function wholeText(
  ids: readonly number[],
  stack: Stack = new Map(),
): Promise<Float32Array<ArrayBuffer>[]> {
  const { config, weights } = reference;
  const logits = scope(() => {
    let x = embedTokens(weights, tensor(device, Uint32Array.from(ids), [1, ids.length]));
    weights.layers.forEach((layer, i) => {
      x = decoderLayer(config, layer, x, { adapter: stack.get(i) });
    });
    return languageModelLogits(config, weights, x);
  });
  const all = await logits.read();
  return ids.map((_, i) => all.slice(i * VOCABULARY, (i + 1) * VOCABULARY));
}

async function collected(
  decoder: Decoder,
  prompt: number[],
  options: GenerateOptions,
): Promise<GeneratedPiece[]> {
  const pieces: GeneratedPiece[] = [];
  for await (const piece of generate(decoder, prompt, options)) pieces.push(piece);
  return pieces;
}
const tokensOf = (pieces: readonly GeneratedPiece[]) => pieces.map(({ token }) => token);

describe('Decoder', () => {
  it('gives the bits of the whole text, in steps of any size', async () => {
    const decoder = open({ stacks: [deep] });
    const expected = await wholeText(TEXT, deep);
    for (const sizes of [[21], [1, 1, 1, 18], [8, 9, 4], [13, 1, 7]]) {
      decoder.reset();
      let read = 0;
      for (const size of sizes) {
        const logits = await decoder.append(TEXT.slice(read, read + size));
        read += size;
        expect([sizes, read, sameBits(logits, expected[read - 1]!)]).toEqual([sizes, read, true]);
      }
      expect(decoder.position()).toBe(21);
    }
  });

  it('gives for several stacks the mean of what each gives alone, in whatever order they leave the trunk', async () => {
    const alone = [(await wholeText(TEXT, deep)).at(-1)!, (await wholeText(TEXT, shallow)).at(-1)!];
    expect(relativeError(alone[0]!, alone[1]!)).toBeGreaterThan(0.1);
    const mean = alone[0]!.map((value, id) => (value + alone[1]![id]!) / 2);
    const found: Float32Array<ArrayBuffer>[] = [];
    for (const stacks of [
      [deep, shallow],
      [shallow, deep],
    ]) {
      const decoder = open({ stacks });
      await decoder.append(TEXT.slice(0, 20));
      found.push(await decoder.append(TEXT.slice(20)));
    }
    // The sum of two numbers has the same bits either way round, and half of it is exact.
    expect(sameBits(found[0]!, mean)).toBe(true);
    expect(sameBits(found[1]!, mean)).toBe(true);
  });

  it('gives the logarithm of the mean of probabilities where that is asked for', async () => {
    const logits = [(await wholeText(TEXT, deep)).at(-1)!, (await wholeText(TEXT, shallow)).at(-1)!];
    const each = logits.map((row) => {
      const all = row.reduce((sum, logit) => sum + Math.exp(logit), 0);
      return Array.from(row, (logit) => Math.exp(logit) / all);
    });
    const found = await open({ stacks: [deep, shallow], mean: 'probabilities' }).append(TEXT);
    const expected = each[0]!.map((probability, id) => Math.log((probability + each[1]![id]!) / 2));
    expect(relativeError(found, expected)).toBeLessThan(1e-5);
  });

  it('gives texts side by side the bits of each alone, wherever and whenever they begin', async () => {
    const decoder = open({ stacks: [deep, shallow], slots: 5 });
    const alone = open({ stacks: [deep, shallow] });
    const texts = [TEXT, TEXT.slice(3), [7, 7, 7, ...TEXT], TEXT.toReversed()];
    const expected = new Map<string, Float32Array<ArrayBuffer>>();
    for (const [n, text] of texts.entries()) {
      alone.reset();
      for (const [i, id] of text.entries()) expected.set(`${n}/${i + 1}`, await alone.append([id]));
    }
    const found: string[] = [];
    const check = (n: number, read: number, logits: Float32Array<ArrayBuffer>) => {
      found.push(`${n}/${read}`);
      expect([n, read, sameBits(logits, expected.get(`${n}/${read}`)!)]).toEqual([n, read, true]);
    };
    // Text n in slot 4 - n: two begin, the others join later in a slot that others have written to, and one begins again.
    const slotOf = (n: number) => 4 - n;
    const begin = async (n: number, tokens: number) => {
      decoder.reset(slotOf(n));
      check(n, tokens, await decoder.append(texts[n]!.slice(0, tokens), slotOf(n)));
    };
    const goOn = async (...which: number[]) => {
      const parts = which.map((n) => ({ slot: slotOf(n), token: texts[n]![decoder.position(slotOf(n))]! }));
      const logits = await decoder.step(parts);
      for (const [i, n] of which.entries()) check(n, decoder.position(slotOf(n)), logits[i]!);
    };
    await begin(0, 5);
    await begin(1, 9);
    for (let i = 0; i < 3; i++) await goOn(0, 1);
    await begin(2, 1);
    await goOn(2, 0, 1);
    await goOn(2);
    await begin(3, 13);
    for (let i = 0; i < 3; i++) await goOn(1, 3, 0, 2);
    await begin(0, 2);
    await goOn(3, 2, 0);
    expect(found.length).toBeGreaterThan(20);
  });

  it('names what cannot be', async () => {
    const decoder = open({ capacity: 4 });
    await expect(decoder.append([])).rejects.toThrow('generate: there is no token to read');
    await expect(decoder.append([3, 128])).rejects.toThrow(
      'generate: token 128 is not one of the vocabulary of 128',
    );
    await expect(decoder.append([1, 2, 3, 4, 5])).rejects.toThrow(
      'generate: 5 tokens after 0 are more than the capacity of 4',
    );
    const first = decoder.append([1, 2, 3]);
    await expect(decoder.append([4])).rejects.toThrow('generate: the decoder is reading already');
    await first;
    await expect(decoder.append([4, 5])).rejects.toThrow('2 tokens after 3 are more than the capacity of 4');
    await expect(decoder.append([4], 1)).rejects.toThrow('generate: slot 1 is not one of 1, or there twice');
    await expect(decoder.step([])).rejects.toThrow('generate: there is no text to read');
    decoder.dispose();
    await expect(decoder.append([4])).rejects.toThrow('generate: the decoder is disposed');
    expect(() => open({ slots: 0 })).toThrow('generate: option slots must be in 1..128, not 0');
    expect(() => open({ capacity: 41 })).toThrow('generate: option capacity must be in 1..40, not 41');
    expect(() => open({ stacks: [] })).toThrow('stacks: there is none');
    expect(() => open({ stacks: [deep, new Map()] })).toThrow('stacks: stack 1 has no adapter');
    const gap = new Map([...deep].filter(([layer]) => layer !== 2));
    expect(() => open({ stacks: [deep, gap] })).toThrow(
      'stacks: stack 1 has no adapter in layer 2, but in one below it',
    );
  });
});

describe('generate', () => {
  it('continues greedily as transformers and PEFT do', async () => {
    const { prompt, continued } = reference.about;
    const options = { maxTokens: 20, endTokens: [] };
    const base = await collected(open(), prompt, options);
    expect(tokensOf(base)).toEqual(continued.base);
    expect(base.map(({ finish }) => finish)).toEqual([...Array(19).fill(null), 'length']);
    expect(tokensOf(await collected(open({ stacks: [deep] }), prompt, options))).toEqual(continued.adapter);
  });

  it('draws the same text from the same seed, whatever was read before', async () => {
    const decoder = open();
    const draw = async (seed: number) =>
      tokensOf(await collected(decoder, [1, 2, 3], { temperature: 1.2, topP: 0.95, seed, endTokens: [] }));
    const first = await draw(1);
    expect(first).toHaveLength(CAPACITY - 3 + 1);
    expect(await draw(2)).not.toEqual(first);
    expect(await draw(1)).toEqual(first);
  });

  it('ends at an end token, which has no text, and at a stop string', async () => {
    const { prompt, continued } = reference.about;
    const decoder = open();
    const decode = (ids: readonly number[]) => ids.map((id) => `<${id}>`).join('');
    const [one, two, three] = continued.base as [number, number, number];
    const ended = await collected(decoder, prompt, { decode, endTokens: [three] });
    const at = continued.base.indexOf(three);
    expect(ended.at(-1)).toEqual({ token: three, text: '', finish: 'stop' });
    expect(ended.map(({ text }) => text).join('')).toBe(decode(continued.base.slice(0, at)));
    const stopped = await collected(decoder, prompt, { decode, endTokens: [], stop: [`><${two}`] });
    expect(stopped.map(({ text }) => text).join('')).toBe(`<${one}`);
    expect(stopped.at(-1)!.finish).toBe('stop');
  });

  it('keeps the space before a word that goes on with the prompt, and not before a text of its own', async () => {
    const { prompt, continued } = reference.about;
    const options = { decode: (ids: readonly number[]) => ids.join(' '), endTokens: [], maxTokens: 3 };
    const answer = continued.base.slice(0, 3).join(' ');
    const textOf = (pieces: readonly GeneratedPiece[]) => pieces.map(({ text }) => text).join('');
    expect(textOf(await collected(open(), prompt, options))).toBe(` ${answer}`);
    expect(textOf(await collected(open(), prompt, { ...options, startsAnew: true }))).toBe(answer);
    const stopped = await collected(open(), prompt, { ...options, stop: [` ${continued.base[0]}`] });
    expect(stopped.map(({ text, finish }) => [text, finish])).toEqual([['', 'stop']]);
  });

  it('ends with the reason of its signal, between two tokens or while one is computed', async () => {
    const decoder = open();
    const controller = new AbortController();
    const pieces = generate(decoder, [1, 2], { signal: controller.signal, endTokens: [] });
    expect((await pieces.next()).done).toBe(false);
    const under = pieces.next();
    controller.abort(new Error('enough'));
    await expect(under).rejects.toThrow('enough');
    expect((await pieces.next()).done).toBe(true);
    expect(await collected(decoder, [1, 2], { maxTokens: 1 })).toHaveLength(1);
  });

  it.each<[GenerateOptions, string]>([
    [{ maxTokens: 0 }, 'maxTokens must be a positive whole number, not 0'],
    [{ seed: -1 }, 'seed must be a whole number from 0 to 2^53 - 1, not -1'],
    [{ stop: ['x'] }, 'stop takes decode: texts are not compared by tokens'],
    [{ stop: [''], decode: String }, 'stop has an empty text'],
    [{ topP: 2 }, 'topP must be above 0 and at most 1, not 2'],
  ])('refuses %j', async (options, message) => {
    await expect(collected(open(), [1], options)).rejects.toThrow(`generate: option ${message}`);
  });

  it('ends where another text is begun in its place', async () => {
    const decoder = open();
    const [first, second] = [1, 9].map((token) => generate(decoder, [token, 5, 3], { maxTokens: 4 }));
    await first!.next();
    await second!.next();
    await expect(first!.next()).rejects.toThrow('generate: another text was begun in the decoder');
    // The other one goes on as if it had been alone.
    const { value } = await second!.next();
    const alone = await collected(open(), [9, 5, 3], { maxTokens: 2 });
    expect(value).toMatchObject({ token: alone[1]!.token });
  });

  it('refuses a prompt without tokens', async () => {
    await expect(collected(open(), [], {})).rejects.toThrow('generate: there is no token to read');
  });
});

describe('ContinuousBatch', () => {
  const decode = (ids: readonly number[]) => ids.map((id) => `<${id}>`).join('');
  /** As unlike as texts can be. */
  const asked = Array.from({ length: 14 }, (_, n) => ({
    prompt: TEXT.slice(n % 5, (n % 5) + 1 + ((n * 7) % 16)),
    options: {
      ...{ decode, seed: n, endTokens: [], maxTokens: 1 + ((n * 5) % 23) },
      ...(n % 3 > 0 && { temperature: 0.7 + 0.1 * n }),
      ...(n % 4 === 1 && { topK: 3 }),
      ...(n % 4 === 2 && { topP: 0.8, repetitionPenalty: 1.3 }),
      ...(n % 5 === 4 && { stop: ['7><'] }),
    } satisfies GenerateOptions,
  }));

  async function read(pieces: AsyncIterable<GeneratedPiece>, before = async () => {}) {
    const found: GeneratedPiece[] = [];
    for await (const piece of pieces) {
      found.push(piece);
      await before();
    }
    return found;
  }

  it('gives every text what it has alone, however they come and go, in memory that stays as it is', async () => {
    const alone = open({ stacks: [deep, shallow] });
    const expected: GeneratedPiece[][] = [];
    for (const { prompt, options } of asked) expected.push(await collected(alone, prompt, options));
    const decoder = open({ stacks: [deep, shallow], slots: 4 });
    const batch = new ContinuousBatch(decoder, { chunk: 8 });
    // Every size of step is captured by then.
    await Promise.all(asked.map(({ prompt, options }) => read(batch.generate(prompt, options))));
    const { liveBytes } = device.memory();
    for (const round of [1, 2, 3]) {
      const draws = uniformValues(3 * asked.length, 1, [round, 9], 0).map(Math.abs);
      const order = asked.map((_, n) => n).sort((a, b) => draws[a]! - draws[b]!);
      await Promise.all(
        order.map(async (n, i) => {
          const { prompt, options } = asked[n]!;
          const delay = (at: number) => new Promise<void>((r) => setTimeout(r, 30 * draws[at]! ** 4));
          await delay(asked.length + i);
          // Some go away in the middle, or are told to.
          const gone = new AbortController();
          const pieces = batch.generate(prompt, { ...options, signal: gone.signal });
          const cut = i % 4 === 3 ? 1 + (i % 3) : Number.POSITIVE_INFINITY;
          const found: GeneratedPiece[] = [];
          try {
            for await (const piece of pieces) {
              found.push(piece);
              if (found.length === cut && round === 1) break;
              if (found.length === cut) gone.abort(new Error('enough'));
              if (n % 3 === 0) await delay(2 * asked.length + n);
            }
          } catch (error) {
            expect([(error as Error).message, found.length]).toEqual(['enough', cut]);
          }
          expect([n, found]).toEqual([n, expected[n]!.slice(0, cut)]);
        }),
      );
      expect([batch.running, batch.waiting, device.memory().liveBytes]).toEqual([0, 0, liveBytes]);
    }
  });

  it('lets one join at the next token, in turn, and frees a slot at once', async () => {
    const batch = new ContinuousBatch(open({ slots: 2 }));
    const long = { maxTokens: 30, endTokens: [] };
    const log: string[] = [];
    const run = async (name: string, maxTokens: number) => {
      for await (const _ of batch.generate([1, 2], { ...long, maxTokens })) log.push(name);
    };
    const [a, b, c, d] = [run('a', 30), run('b', 3), run('c', 3), run('d', 3)];
    await Promise.all([b, c, d]);
    expect(log.filter((name) => name !== 'a').join('')).toBe('bbbcccddd');
    // They took as many steps as they have tokens, and the other went on all the while.
    expect(log.filter((name) => name === 'a').length).toBeGreaterThanOrEqual(7);
    expect(log.filter((name) => name === 'a').length).toBeLessThan(14);
    await a;
  });

  it('reads a long prompt in parts, between the tokens of the others', async () => {
    const batch = new ContinuousBatch(open({ slots: 2 }), { chunk: 4 });
    const first = batch.generate([1, 2], { maxTokens: 38, endTokens: [] });
    await first.next();
    let [tokens, isThere] = [0, false];
    const second = batch.generate(TEXT, { maxTokens: 1 });
    const begun = second.next().then(() => {
      isThere = true;
    });
    while (!isThere) {
      await first.next();
      tokens++;
    }
    // 21 tokens in parts of four.
    expect(tokens).toBeGreaterThanOrEqual(5);
    await begun;
    await first.return();
    // A reader that goes away while nothing is computed makes room, too.
    const idle = [1, 2].map((id) => batch.generate([id], { endTokens: [] }));
    for (const text of idle) await text.next();
    const waits = batch.generate([3], { maxTokens: 1 }).next();
    expect(batch.waiting).toBe(1);
    await idle[0]!.return();
    expect((await waits).value?.finish).toBe('length');
    await idle[1]!.return();
  });

  it('ends a text alone with what is wrong with it, and all of them when it is closed', async () => {
    const batch = new ContinuousBatch(open({ slots: 2, capacity: 8 }));
    await expect(read(batch.generate([1, 2, 3, 4, 5, 6, 7, 8, 9]))).rejects.toThrow(
      'generate: 9 tokens after 0 are more than the capacity of 8',
    );
    await expect(read(batch.generate([1], { topP: 2 }))).rejects.toThrow('generate: option topP');
    const texts = [1, 2, 3].map((id) => batch.generate([id], { endTokens: [] }));
    const begun = await Promise.all(texts.slice(0, 2).map((text) => text.next()));
    expect(begun.map(({ done }) => done)).toEqual([false, false]);
    const waits = texts[2]!.next();
    const under = texts[0]!.next();
    await under;
    expect([batch.running, batch.waiting]).toEqual([2, 1]);
    batch.close(new Error('closed'));
    await expect(waits).rejects.toThrow('closed');
    await expect(texts[1]!.next()).rejects.toThrow('closed');
    await expect(batch.generate([1]).next()).rejects.toThrow('closed');
    expect([batch.running, batch.waiting]).toEqual([0, 0]);
  });
});
