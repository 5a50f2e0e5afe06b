import { Device } from '@s3t/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ModelError, OptionError } from './errors.ts';
import { parseSafetensors, writeSafetensors } from './safetensors.ts';
import { decodeStage, encodeStage, placeStage, startStage, targetsOf } from './stage.ts';
import { FORM, randomStage, sameBits, sizeOf, TINY, type Values } from './testing/tiny.ts';
import { vitArchitecture } from './vit.ts';

const LAYERS = [3, 2];
const HEAD = 'base_model.model.classifier';
const adapterName = (layer: number, target: string, part: 'A' | 'B') =>
  `base_model.model.vit.encoder.layer.${layer}.attention.attention.${target}.lora_${part}.weight`;

describe('startStage', () => {
  const wide = {
    ...FORM,
    architecture: vitArchitecture({ ...TINY, hidden_size: 256 }),
    lora: { ...FORM.lora, rank: 32 },
  };
  const start = startStage(wide, LAYERS, [1, 2], null);

  it('draws A uniformly within 1 / sqrt(width), each from a stream of its own', () => {
    const bound = 1 / 16;
    const drawn = LAYERS.flatMap((layer) =>
      ['query', 'value'].map((t) => start.get(adapterName(layer, t, 'A'))!),
    );
    for (const values of drawn) {
      expect(values.length).toBe(32 * 256);
      expect(Math.max(...values)).toBeLessThanOrEqual(bound);
      expect(Math.min(...values)).toBeGreaterThanOrEqual(-bound);
      // 16 equal parts of 512 expected values each: 15 degrees of freedom, above 44 once in ten thousand.
      const parts = new Array<number>(16).fill(0);
      for (const value of values) parts[Math.min(15, Math.floor(((value / bound + 1) / 2) * 16))]!++;
      expect(parts.reduce((sum, n) => sum + (n - 512) ** 2 / 512, 0)).toBeLessThan(44);
    }
    expect(new Set(drawn.map((values) => values.join())).size).toBe(4);
  });

  it('starts B at zero: the adapter changes nothing', () => {
    for (const layer of LAYERS)
      for (const target of ['query', 'value'])
        expect(start.get(adapterName(layer, target, 'B'))!.every((value) => Object.is(value, 0))).toBe(true);
  });

  it('starts the first head uniformly with standard deviation 0.02, its bias at zero', () => {
    const many = startStage({ ...wide, outputs: 100 }, LAYERS, [1, 2], null);
    const weight = many.get(`${HEAD}.weight`)!;
    const variance = weight.reduce((sum, value) => sum + value * value, 0) / weight.length;
    expect(Math.sqrt(variance)).toBeCloseTo(0.02, 3);
    expect(Math.max(...weight)).toBeLessThanOrEqual(0.02 * Math.sqrt(3));
    expect(many.get(`${HEAD}.bias`)).toEqual(new Float32Array(100));
  });

  it('goes on with the head of the stage before', () => {
    const before = randomStage([3], 1);
    const next = startStage(FORM, [2], [1, 2], before);
    expect(sameBits(next.get(`${HEAD}.weight`)!, before.get(`${HEAD}.weight`)!)).toBe(true);
    expect(sameBits(next.get(`${HEAD}.bias`)!, before.get(`${HEAD}.bias`)!)).toBe(true);
  });

  it('depends on the key, both words of it, and on nothing else', () => {
    const a = (key: [number, number]) =>
      startStage(FORM, LAYERS, key, null).get(adapterName(3, 'query', 'A'))!;
    expect(a([1, 2])).toEqual(a([1, 2]));
    expect(a([2, 2])).not.toEqual(a([1, 2]));
    expect(a([1, 3])).not.toEqual(a([1, 2]));
  });
});

describe('targetsOf', () => {
  it('orders targets as the model has them, each once', () => {
    expect(
      targetsOf(FORM.architecture, { ...FORM.lora, targets: ['value', 'query', 'value'] }).map(
        ({ name }) => name,
      ),
    ).toEqual(['query', 'value']);
  });

  it('refuses what the model does not have', () => {
    expect(() => targetsOf(FORM.architecture, { ...FORM.lora, targets: ['query', 'q_proj'] })).toThrow(
      new OptionError(
        'lora.targets: the model has no layer "q_proj"; it has query, key, value, attention.output.dense, intermediate.dense, output.dense',
      ),
    );
  });
});

describe('encodeStage and decodeStage', () => {
  const values = randomStage(LAYERS, 3);
  const bytes = encodeStage(FORM, LAYERS, values);

  it('write names and shapes as PEFT does', () => {
    const { tensors, metadata } = parseSafetensors(bytes, 'adapter.safetensors');
    const shapes = Object.fromEntries([...tensors].map(([name, { shape }]) => [name, shape]));
    const expected: Record<string, number[]> = { [`${HEAD}.weight`]: [3, 16], [`${HEAD}.bias`]: [3] };
    for (const layer of LAYERS)
      for (const target of ['query', 'value']) {
        expected[adapterName(layer, target, 'A')] = [4, 16];
        expected[adapterName(layer, target, 'B')] = [16, 4];
      }
    expect(shapes).toEqual(expected);
    expect(metadata).toEqual({ format: 'pt' });
  });

  it('round trip, bit for bit, NaN and signed zero included', () => {
    const strange = new Map(values);
    strange.set(`${HEAD}.bias`, Float32Array.of(-0, Number.NaN, 1e-42));
    const decoded = decodeStage(encodeStage(FORM, LAYERS, strange), FORM, LAYERS, 'file');
    expect([...decoded.keys()]).toEqual([...values.keys()]);
    for (const [name, value] of strange) expect(sameBits(decoded.get(name)!, value)).toBe(true);
  });

  it('write the same bytes whatever the order of the values', () => {
    expect(encodeStage(FORM, LAYERS, new Map([...values].reverse()))).toEqual(bytes);
  });

  it('read f16 adapters, as PEFT users have them', () => {
    const { tensors } = parseSafetensors(bytes, 'file');
    const halves = [...tensors].map(([name, { shape }]) => {
      const from = values.get(name)!;
      return { name, shape, bytes: new Uint8Array(from.length * 2).fill(0x3c) };
    });
    let end = 0;
    const header = Object.fromEntries(
      halves.map(({ name, shape, bytes: data }) => {
        end += data.length;
        return [name, { dtype: 'F16', shape, data_offsets: [end - data.length, end] }];
      }),
    );
    const text = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    const file = new Uint8Array(Buffer.concat([length, text, ...halves.map(({ bytes: data }) => data)]));
    // 0x3c3c is 1 + 60 / 1024.
    for (const value of decodeStage(file, FORM, LAYERS, 'file').values())
      expect(value.every((v) => v === 1.05859375)).toBe(true);
  });

  const rewritten = (
    change: (tensors: Map<string, { shape: readonly number[]; values: Float32Array }>) => void,
  ) => {
    const tensors = new Map(
      [...parseSafetensors(bytes, '').tensors].map(([name, { shape }]) => [
        name,
        { shape, values: values.get(name)! as Float32Array },
      ]),
    );
    change(tensors);
    return writeSafetensors(tensors);
  };
  const missing = adapterName(2, 'value', 'B');

  it('name file and tensor when one is missing', () => {
    const file = rewritten((tensors) => tensors.delete(missing));
    expect(() => decodeStage(file, FORM, LAYERS, 'store/ab')).toThrow(
      new ModelError(`store/ab: there is no tensor ${missing}`),
    );
  });

  it('name file and tensor when a shape differs', () => {
    const file = rewritten((tensors) =>
      tensors.set(missing, { shape: [4, 16], values: new Float32Array(64) }),
    );
    expect(() => decodeStage(file, FORM, LAYERS, 'store/ab')).toThrow(
      new ModelError(`store/ab: tensor ${missing} has shape [4,16], not [16,4]`),
    );
    expect(() => decodeStage(bytes, { ...FORM, outputs: 4 }, LAYERS, 'store/ab')).toThrow(
      new ModelError(`store/ab: tensor ${HEAD}.weight has shape [3,16], not [4,16]`),
    );
  });

  it('name file and tensor when a data type is no number of this model', () => {
    const file = bytes.slice();
    const at = Buffer.from(file).indexOf('"F32"');
    file.set(Buffer.from('"I32"'), at);
    expect(() => decodeStage(file, FORM, LAYERS, 'store/ab')).toThrow(
      /^store\/ab: tensor base_model\.\S+ holds I32, not numbers this model can use$/,
    );
  });

  it('refuse the stage of another group and a damaged file', () => {
    expect(() => decodeStage(bytes, FORM, [1, 0], 'store/ab')).toThrow('store/ab: there is no tensor');
    expect(() => decodeStage(bytes.subarray(0, -1), FORM, LAYERS, 'store/ab')).toThrow(
      /^store\/ab: tensor .* past the end/,
    );
  });
});

describe('placeStage', () => {
  let device: Device;
  beforeAll(async () => {
    device = await Device.open();
  });
  afterAll(() => device.close());

  const place = (values: Values, use: 'train' | 'serve') => placeStage(device, FORM, LAYERS, values, use);

  it('puts every value where the model looks for it', async () => {
    const values = randomStage(LAYERS, 5);
    const { stage, parameters } = place(values, 'serve');
    expect([...parameters.keys()]).toEqual([...values.keys()]);
    expect([...stage.adapters.keys()].sort()).toEqual([2, 3]);
    for (const layer of LAYERS) {
      const { pairs, scale } = stage.adapters.get(layer)!;
      expect(scale).toBe(8 / Math.sqrt(4));
      expect(Object.keys(pairs)).toEqual(['query', 'value']);
      for (const target of ['query', 'value'] as const) {
        const { down, up } = pairs[target]!;
        expect(await down.read()).toEqual(values.get(adapterName(layer, target, 'A')));
        expect(await up.read()).toEqual(values.get(adapterName(layer, target, 'B')));
      }
    }
    expect(await stage.head['classifier.weight']!.read()).toEqual(values.get(`${HEAD}.weight`));
    expect(await stage.head['classifier.bias']!.read()).toEqual(values.get(`${HEAD}.bias`));
    for (const parameter of parameters.values()) parameter.dispose();
  });

  it('makes parameters trainable or constant, and they are all the memory it takes', () => {
    const before = device.memory().liveBytes;
    for (const use of ['train', 'serve'] as const) {
      const { parameters } = place(randomStage(LAYERS, 5), use);
      for (const { trainable, storage } of parameters.values())
        expect([trainable, storage.constant]).toEqual([use === 'train', use === 'serve']);
      for (const parameter of parameters.values()) parameter.dispose();
      expect(device.memory().liveBytes).toBe(before);
    }
    const sizes = [...place(randomStage(LAYERS, 5), 'train').parameters.values()].map(({ shape }) =>
      sizeOf(shape),
    );
    expect(sizes.reduce((a, b) => a + b, 0)).toBe(2 * 2 * 2 * 64 + 51);
  });
});
