import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type AdapterClass,
  cast,
  Device,
  dequantise,
  type FrozenType,
  gradients,
  groupedLoraLinear,
  linear,
  loraLinear,
  mergeLora,
  multiply,
  quantise,
  reshape,
  type Shape,
  scope,
  slice,
  type Tensor,
  tensor,
  total,
  uniformValues,
} from '../index.ts';
import { bitsOf, bitsOfAll } from '../testing/block.ts';

const TYPES: FrozenType[] = ['f16', 'int8', 'int4x32', 'int4x64'];
const COMPILING = 120_000;

let stream = 0;
const values = (...shape: number[]) =>
  uniformValues(
    shape.reduce((a, b) => a * b, 1),
    1,
    [3, 5],
    stream++,
  );

describe.each<AdapterClass | undefined>([undefined, 'portable', 'gpu'])('class %s', (adapterClass) => {
  let device: Device;
  beforeAll(async () => {
    device = await Device.open({ adapterClass });
  });
  afterAll(() => device.close());
  const trained = (...shape: number[]) => tensor(device, values(...shape), shape, { trainable: true });

  test.each(TYPES)('%s: the device and the host unpack to the same bits', async (dtype) => {
    const shape = [37, 192];
    using weight = quantise(device, values(...shape), shape, dtype);
    using unpacked = dequantise(weight);
    expect(bitsOf(await unpacked.read())).toBe(bitsOf(await weight.read()));
  });

  /** Runs a layer on a packed weight and on its values in f32; both must give the same bits, forward and backward. */
  async function expectSameBits(
    packed: Tensor,
    parameters: readonly Tensor[],
    layer: (weight: Tensor) => Tensor,
  ): Promise<void> {
    const bits: string[][] = [];
    for (const weight of [packed, dequantise(packed)]) {
      const computed = scope(() => {
        const y = layer(weight);
        const w = tensor(device, uniformValues(y.size, 1, [8, 9], 0), y.shape);
        return [y, ...gradients(total(multiply(y, w)), parameters)];
      });
      bits.push(await bitsOfAll(computed));
      for (const each of computed) each.dispose();
    }
    expect(bits[0]).toEqual(bits[1]);
  }

  test.each(TYPES)(
    '%s: a layer has the bits of the layer with its values in f32, forward and backward',
    async (dtype) => {
      const [n, k, rank] = [36, 64, 8];
      const packed = quantise(device, values(n, k), [n, k], dtype);
      const [x, bias] = [trained(33, k), tensor(device, values(n))];
      await expectSameBits(packed, [x], (weight) => linear(x, weight, bias));
      // On other classes a low-rank change is a loop of its own over f32, whatever the weight is: one type shows it.
      if (adapterClass !== undefined && dtype !== 'int8') return;
      const [down, up] = [trained(rank, k), trained(n, rank)];
      const adapter = { down, up, scale: 0.5 };
      await expectSameBits(packed, [x, down, up], (weight) => loraLinear(x, weight, bias, adapter));
      const adapters = { down: trained(2, rank, k), up: trained(2, n, rank), scale: 0.5 };
      const groups = trained(2, 33, k);
      await expectSameBits(packed, [groups, adapters.down, adapters.up], (weight) =>
        groupedLoraLinear(groups, weight, bias, adapters),
      );
    },
    COMPILING,
  );

  // Software adapters have a kernel of their own for them, where no class is asked for.
  test.runIf(adapterClass === undefined).each(TYPES)('%s: few rows have those bits too', async (dtype) => {
    // More columns than a workgroup takes, and not all of a second one's.
    // Of int4x64, two groups a row.
    const [n, k] = [36, dtype === 'int4x64' ? 128 : 64];
    const packed = quantise(device, values(n, k), [n, k], dtype);
    const bias = tensor(device, values(n));
    const x = trained(3, k);
    await expectSameBits(packed, [x], (weight) => linear(x, weight, bias));
    if (dtype !== 'int8') return;
    const [one, residual] = [trained(1, k), tensor(device, values(1, n), [1, n])];
    await expectSameBits(packed, [one], (weight) => linear(one, weight, bias, { residual }));
    await expectSameBits(packed, [one], (weight) => linear(one, weight, bias, { activation: 'silu' }));
    // And those that a row has among many.
    const many = tensor(device, values(40, k), [40, k]);
    const all = scope(() => linear(many, packed, bias));
    const few = scope(() => linear(slice(many, 0, 0, 6), packed, bias));
    expect(bitsOf(await few.read())).toBe(bitsOf((await all.read()).slice(0, 6 * n)));
  });

  test('rows that fill no whole texels or words', async () => {
    const [n, k] = [7, 19];
    const [x, bias] = [trained(5, k), tensor(device, values(n))];
    for (const dtype of ['f16', 'int8'] as const) {
      const packed = quantise(device, values(n, k), [n, k], dtype);
      await expectSameBits(packed, [x], (weight) => linear(x, weight, bias));
    }
  });
});

describe('packing', () => {
  let device: Device;
  beforeAll(async () => {
    device = await Device.open();
  });
  afterAll(() => device.close());
  const quantised = (list: number[], dtype: FrozenType, shape: Shape = [list.length]) =>
    quantise(device, Float32Array.from(list), shape, dtype);

  test('f16 is the nearest, ties to even, subnormals included', async () => {
    const list = [0, 1, -1.5, 65504, 2 ** -14, 2 ** -24, -3 * 2 ** -24, 2 ** -25, 3 * 2 ** -25];
    list.push(1 + 2 ** -11, 1 + 3 * 2 ** -11, 1 + 2 ** -11 + 2 ** -20, 0.1, 2047.7);
    const expected = [0, 1, -1.5, 65504, 2 ** -14, 2 ** -24, -3 * 2 ** -24, 0, 2 ** -23];
    expected.push(1, 1 + 2 ** -9, 1 + 2 ** -10, 0.0999755859375, 2048);
    using weight = quantised(list, 'f16');
    expect([...(await weight.read())]).toEqual(expected);
    using unpacked = dequantise(weight);
    expect([...(await unpacked.read())]).toEqual(expected);
  });

  test('casting to f16 on the device rounds as the host does, and back is exact', async () => {
    // Every exponent of f16 and beyond, and every way of rounding.
    const list = Array.from(values(4001), (value, i) => value * 2 ** ((i % 45) - 29));
    for (let i = 0; i < 4000; i += 3) list[i] = (Math.round(list[i]! * 2 ** 26) + 0.5) * 2 ** -26;
    using x = tensor(device, Float32Array.from(list));
    using half = cast(x, 'f16');
    using packed = quantised(list, 'f16');
    expect([half.dtype, half.size]).toEqual(['f16', 4001]);
    expect(await half.readUint32()).toEqual(await packed.readUint32());
    using back = cast(half, 'f32');
    expect(bitsOf(await back.read())).toBe(bitsOf(await packed.read()));
    using extreme = scope(() => cast(tensor(device, [65519, 65520, -1e30, Number.NaN]), 'f16'));
    expect([...(await extreme.readUint32())]).toEqual([0x7c007bff, 0x7e00fc00]);
    expect(() => cast(quantised([1, 2], 'int8'), 'f16')).toThrow('cast: [2] holds int8, not f32');
  });

  test('int8 keeps what are levels of its row, and every value within half a level', async () => {
    const rows = [127, -127, 3, 0, 0.5, -0.25, 0.125, 0.499, 0, 0, 0, 0];
    using weight = quantised(rows, 'int8', [3, 4]);
    const kept = await weight.read();
    expect([...kept.slice(0, 4)]).toEqual([127, -127, 3, 0]);
    expect([...kept.slice(8)]).toEqual([0, 0, 0, 0]);
    for (let i = 4; i < 8; i++) expect(Math.abs(kept[i]! - rows[i]!)).toBeLessThanOrEqual(0.5 / 254 + 1e-9);
  });

  test('int4 has a scale for every group', async () => {
    const list = Array.from({ length: 64 }, (_, i) => (i < 32 ? (i % 15) - 7 : ((i % 15) - 7) / 64));
    list[32] = 7 / 64;
    using weight = quantised(list, 'int4x32', [1, 64]);
    expect([...(await weight.read())]).toEqual(list.map((value) => value + 0));
  });

  test('it takes the memory it promises, and f32 copies of it are not kept', async () => {
    const before = device.memory();
    const [n, k] = [256, 1024];
    using weight = quantise(device, values(n, k), [n, k], 'int8');
    expect(weight.storage.bytes).toBe(n * k + 4 * n);
    using x = tensor(device, values(3, k), [3, k]);
    using bias = tensor(device, values(n));
    for (let round = 0; round < 3; round++) {
      linear(x, weight, bias).dispose();
      expect(weight.storage.textures.size).toBe(0);
    }
    await device.idle();
    const texture = 4 * n * k;
    expect(device.memory().textureBytes - before.textureBytes).toBeLessThan(1.5 * texture);
  });

  test('what does not fit is refused by name', () => {
    expect(() => quantised([1, 2, 3], 'int4x32')).toThrow(
      'quantise: the last axis of [3] is no multiple of the 32 of int4x32',
    );
    expect(() => quantised([1, 2, 3], 'f16', [4])).toThrow('quantise: 3 values for shape [4]');
    expect(() => quantised([1, 70_000], 'f16')).toThrow(
      'quantise: element 1 is 70000, which f16 cannot hold',
    );
    expect(() => quantised([1, Number.NaN], 'int8')).toThrow(
      'quantise: element 1 is NaN, which int8 cannot hold',
    );
    using weight = quantised([1, 2, 3, 4], 'int8', [2, 2]);
    expect(() => reshape(weight, [4])).toThrow('reshape: [2,2] of int8 keeps its last axis, not [4]');
    expect(() => multiply(weight, weight)).toThrow('multiply: input 0 holds int8, not f32');
    expect(() => weight.write(new Float32Array(4))).toThrow('write: the tensor is constant');
  });

  test('merging an adapter gives f32', async () => {
    using weight = quantised([127, -127, 64, 1], 'int8', [2, 2]);
    using down = tensor(device, [1, 0], [1, 2]);
    using up = tensor(device, [1, 2], [2, 1]);
    using merged = mergeLora(weight, { down, up, scale: 0.5 });
    const [a, b, c, d] = await weight.read();
    expect(merged.dtype).toBe('f32');
    expect([...(await merged.read())]).toEqual([a! + 0.5, b, c! + 1, d].map((v) => Math.fround(v!)));
  });
});
