import { sources } from '@s3t/kernels';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { floatBindings, withHalves } from './half-storage.ts';
import {
  add,
  affine,
  attention,
  capture,
  cast,
  concat,
  Device,
  type DeviceOptions,
  gelu,
  gradients,
  layerNorm,
  linear,
  loraLinear,
  matmul,
  packWeight,
  scope,
  sizeOf,
  slice,
  tensor,
  total,
  uniformValues,
  unpackWeight,
  zeros,
} from './index.ts';
import { bitsOf, bitsOfAll, trainedBits, trainingBlock } from './testing/block.ts';

const STEPS = 8;

let device: Device;
beforeAll(async () => {
  device = await Device.open();
});
afterAll(() => device.close());

/** What the host rounds to f16, as f32. */
function rounded(values: Float32Array<ArrayBuffer>): Float32Array {
  const shape = [values.length];
  return unpackWeight(packWeight(values, shape, 'f16'), shape, 'f16');
}

describe('a kernel that is given f16', () => {
  test('reads every f16 and writes it back', async () => {
    const words = Uint32Array.from({ length: 2 ** 15 }, (_, i) => 2 * i + ((2 * i + 1) << 16));
    const all = unpackWeight(words, [2 ** 16], 'f16');
    using x = tensor(device, all, [2 ** 16]);
    using same = scope(() => affine(cast(x, 'f16'), 1));
    expect(same.dtype).toBe('f16');
    const found = await same.read();
    // The sum with a shift of 0 has no sign where it is zero.
    for (const [i, value] of all.entries())
      if (found[i] !== value && !(Number.isNaN(found[i]) && Number.isNaN(value)))
        throw new Error(`${value} became ${found[i]}`);
  });

  test.each([
    [16, 68],
    [68, 16],
  ])('a product of %i rows and %i columns is that of f32, rounded once', async (m, n) => {
    const depth = 27;
    const product = (stored: 'f16' | 'f32') =>
      scope(() => {
        const [a, b] = [m, n].map((columns, stream) => {
          const values = uniformValues(depth * columns, 1, [5, 1], stream);
          return cast(cast(tensor(device, values, [depth, columns]), 'f16'), stored);
        });
        return matmul(a!, b!, { transposeA: true });
      });
    using half = product('f16');
    using whole = product('f32');
    expect([half.dtype, whole.dtype]).toEqual(['f16', 'f32']);
    expect(bitsOf(await half.read())).toBe(bitsOf(Float32Array.from(rounded(await whole.read()))));
  });

  test('rounds what it stores once, to the nearest, ties to even, as the host does', async () => {
    const random = uniformValues(4096, 1, [3, 1], 0).map((value, i) => value * 2 ** ((i % 40) - 26));
    // Half-way between neighbours of every exponent, and just beside it.
    const ties = Float32Array.from({ length: 4096 }, (_, i) => {
      const exponent = Math.floor(i / 104) - 26;
      return (1 + ((i % 32) + 0.5) * 2 ** -10 + ((i % 3) - 1) * 2 ** -20) * 2 ** exponent;
    });
    const values = Float32Array.from([...random, ...ties]);
    const expected = bitsOf(Float32Array.from(rounded(values)));
    using portable = await Device.open({ adapterClass: 'portable' });
    // By fours, and where rows are no fours element by element: with f16 of the adapter's, and through f32 copies.
    for (const [on, columns] of [
      [device, 4],
      [device, 2],
      [portable, 2],
    ] as const) {
      using y = scope(() => {
        const zero = cast(tensor(on, new Float32Array(columns)), 'f16');
        return add(zero, tensor(on, values, [values.length / columns, columns]));
      });
      expect(y.dtype).toBe('f16');
      expect(bitsOf(await y.read())).toBe(expected);
    }
  });

  test.each(
    Object.keys(sources).filter((name) => /^(norm|elementwise|attention|embedding|layout)\//.test(name)),
  )('compiles with all its bindings as f16: %s', async (name) => {
    const all = Array.from({ length: 9 }, (_, index) => index);
    const module = device.gpu.createShaderModule({ code: withHalves(name, sources[name]!, all) });
    const { messages } = await module.getCompilationInfo();
    expect(messages.filter(({ type }) => type === 'error').map(({ message }) => message)).toEqual([]);
  });

  test('has its bindings found through their aliases', () => {
    const text = `alias Element = f32;
@group(0) @binding(0) var<storage, read> x: array<Element>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(2) var<storage, read> words: array<u32>;`;
    const found = floatBindings(text).map(({ name, isWide }) => [name, isWide]);
    expect(found).toEqual([
      ['x', false],
      ['y', true],
    ]);
    expect(floatBindings(text, { Element: 'u32' }).map(({ name }) => name)).toEqual(['y']);
  });

  test.each(['y[i].x = 1.0;', 'y[i] += 1.0;', 'y[i][2] = 1.0;'])('cannot store by `%s`', (store) => {
    const text = `@group(0) @binding(0) var<storage, read_write> y: array<vec4f>;\n${store}`;
    expect(() => withHalves('some/kernel', text, [0])).toThrow('kernel some/kernel: y cannot be f16');
  });
});

describe.each<[string, DeviceOptions]>([
  ['that cannot store a single f16', { adapterClass: 'portable' }],
  ['that binds little at once', { bindingLimitBytes: 4096 }],
])('a device %s', (_name, options) => {
  test('gives the same bits', async () => {
    using other = await Device.open(options);
    const bits = async (on: Device): Promise<string> => {
      const values = uniformValues(3 * 997, 2, [1, 2], 0);
      using y = scope(() => {
        const x = cast(tensor(on, values, [3, 997]), 'f16');
        // Odd rows: elements are stored one by one, and two share a word.
        return affine(concat([slice(x, 1, 1, 500), slice(x, 1, 3, 333)], 1), 1.5);
      });
      expect(y.dtype).toBe('f16');
      return bitsOf(await y.read());
    };
    expect(await bits(other)).toBe(await bits(device));
  });
});

test('attention, LoRA, norms and products over the binding limit have the bits of the whole, and so have gradients', async () => {
  const bits = async (on: Device): Promise<string[]> => {
    let stream = 0;
    const made = (...shape: number[]) =>
      tensor(on, uniformValues(sizeOf(shape), 0.5, [3, 9], stream++), shape, { trainable: true });
    const computed = scope(() => {
      const [x, norm, bias] = [made(16, 64, 16), made(16), made(16)];
      const [weight, down, up] = [made(16, 16), made(4, 16), made(16, 4)];
      const odd = made(7, 16);
      const h = layerNorm(cast(x, 'f16'), norm, bias, 1e-6);
      const q = loraLinear(h, weight.detach(), bias.detach(), { down, up, scale: 2 });
      const y = add(h, attention(q, h, h, 2));
      const z = gelu(linear(y, odd, made(7)));
      const scores = matmul(y, y, { transposeB: true });
      return [y, z, scores, ...gradients(add(total(z), total(scores)), [x, norm, bias, down, up, odd])];
    });
    expect(computed.map(({ dtype }) => dtype)).toEqual([
      ...['f16', 'f16', 'f16'],
      ...['f32', 'f32', 'f32', 'f32', 'f32', 'f32'],
    ]);
    return bitsOfAll(computed);
  };
  using cut = await Device.open({ bindingLimitBytes: 16_384 });
  expect(await bits(cut)).toEqual(await bits(device));
});

test('what f16 cannot hold is found by name', async () => {
  using checked = await Device.open({ checkNumerics: true });
  using big = cast(tensor(checked, [60_000, 1, 2]), 'f16');
  using sum = add(big, big);
  await expect(sum.read()).rejects.toThrow('checkNumerics: add, shape [3] is the first result with a NaN');
});

describe('training with activations stored as f16', () => {
  let expected: string[];
  beforeAll(async () => {
    expected = await trainedBits(device, STEPS, 'f16');
  });

  test('has the same bits again', async () => {
    expect(await trainedBits(device, STEPS, 'f16')).toEqual(expected);
    expect(await trainedBits(device, STEPS)).not.toEqual(expected);
  });

  test('has the same bits when it is captured, on a device that looks at every result', async () => {
    using other = await Device.open({ checkNumerics: true });
    const block = trainingBlock(other, 'f16');
    const step = capture(other, () => block.step());
    const bits: string[] = [];
    for (let at = 0; at < STEPS; at++) {
      block.prepare(at);
      step.replay();
      bits.push(bitsOf(await step.outputs.loss.read()));
    }
    expect([...bits, ...(await bitsOfAll(block.parameters))]).toEqual(expected);
    step.dispose();
    block.dispose();
  });

  test('learns nearly what f32 learns', async () => {
    const losses = async (stored: 'f32' | 'f16'): Promise<number[]> => {
      const block = trainingBlock(device, stored);
      const found: number[] = [];
      for (let at = 0; at < STEPS; at++) {
        block.prepare(at);
        const { loss, logits } = scope(() => block.step());
        expect(loss.dtype).toBe('f32');
        found.push(await loss.item());
        loss.dispose();
        logits.dispose();
      }
      expect(block.parameters.every(({ dtype }) => dtype === 'f32')).toBe(true);
      block.dispose();
      return found;
    };
    const [full, half] = [await losses('f32'), await losses('f16')];
    for (const [at, loss] of half.entries()) expect(Math.abs(loss - full[at]!)).toBeLessThan(5e-3);
  });

  test('keeps half the bytes for the backward pass', async () => {
    const kept = (stored: 'f32' | 'f16'): number => {
      using weight = tensor(device, uniformValues(256 * 256, 0.1, [1, 1], 0), [256, 256], {
        trainable: true,
      });
      using bias = zeros(device, [256]);
      using x = cast(tensor(device, uniformValues(512 * 256, 1, [1, 1], 1), [512, 256]), stored);
      let bytes = 0;
      scope(() => {
        const before = device.memory().liveBytes;
        let h = x;
        for (let layer = 0; layer < 4; layer++) h = gelu(linear(h, weight, bias));
        expect(total(h).dtype).toBe('f32');
        bytes = device.memory().liveBytes - before;
        return [];
      });
      return bytes;
    };
    expect(kept('f16')).toBeLessThan(0.51 * kept('f32'));
  });
});
