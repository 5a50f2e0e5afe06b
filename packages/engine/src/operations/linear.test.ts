import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type AdapterClass,
  add,
  Device,
  gelu,
  gradients,
  linear,
  matmul,
  multiply,
  quantise,
  reshape,
  ShapeError,
  scope,
  type Tensor,
  tensor,
  total,
  uniformValues,
  zeros,
} from '../index.ts';
import { bitsOfAll } from '../testing/block.ts';

const COMPILING = 120_000;

describe.each<AdapterClass | undefined>([undefined, 'portable', 'gpu'])('class %s', (adapterClass) => {
  let device: Device;
  beforeAll(async () => {
    device = await Device.open({ adapterClass });
  });
  afterAll(() => device.close());

  let stream = 0;
  const made = (...shape: number[]) => {
    const size = shape.reduce((a, b) => a * b, 1);
    return tensor(device, uniformValues(size, 2, [31, 5], stream++), shape, { trainable: true });
  };
  const bitsWithGradients = async (layer: () => Tensor, parameters: Tensor[], weights: Tensor) => {
    const computed = scope(() => {
      const y = layer();
      return [y, ...gradients(total(multiply(y, weights)), parameters)];
    });
    const bits = await bitsOfAll(computed);
    for (const each of computed) each.dispose();
    return bits;
  };

  // Tiles of every size have the same epilogue on a GPU; on software adapters these are two kernels.
  const extents = [[33, 36, 20] as const, [5, 10, 70] as const];
  test.each(adapterClass === 'gpu' ? extents.slice(0, 1) : extents)(
    'an epilogue has the bits of the operations one by one: %i rows, n %i, k %i',
    async (rows, n, k) => {
      const [x, weight, bias, residual] = [made(rows, k), made(n, k), made(n), made(rows, n)];
      const [weights, all] = [made(rows, n), [x, weight, bias, residual]];
      expect(
        await bitsWithGradients(
          () => linear(x, weight, bias, { activation: 'gelu' }),
          [x, weight, bias],
          weights,
        ),
      ).toEqual(await bitsWithGradients(() => gelu(linear(x, weight, bias)), [x, weight, bias], weights));
      expect(await bitsWithGradients(() => linear(x, weight, bias, { residual }), all, weights)).toEqual(
        await bitsWithGradients(() => add(linear(x, weight, bias), residual), all, weights),
      );
      const both = { activation: 'gelu', residual } as const;
      expect(await bitsWithGradients(() => linear(x, weight, bias, both), all, weights)).toEqual(
        await bitsWithGradients(() => add(gelu(linear(x, weight, bias)), residual), all, weights),
      );
    },
    COMPILING,
  );

  // Kernels could write where the residual is: bound a second time, it would spoil the device.
  test('a residual that is an operand as well has the bits of one that is not', async () => {
    const [x, weight, bias] = [made(4, 8), made(8, 8), made(8)];
    const [row, packed] = [
      made(1, 32),
      quantise(device, uniformValues(1024, 1, [3, 5], 0), [32, 32], 'int8'),
    ];
    const wide = made(32);
    const both: [Tensor, Tensor, Tensor, Tensor][] = [
      [x, weight, bias, x],
      [x, weight, bias, reshape(x, [4, 8])],
      [reshape(weight, [8, 8]), weight, bias, weight],
      [made(8), weight, bias, bias],
      [row, packed, wide, row],
    ];
    for (const [input, matrix, added, residual] of both) {
      const copy = tensor(device, await residual.read(), residual.shape);
      const [shared, apart] = [residual, copy].map((each) =>
        linear(input, matrix, added, { residual: each }),
      );
      expect(await shared!.read()).toEqual(await apart!.read());
    }
  });

  test('what was before an activation is let go with the result, or at once where nothing is trained', () => {
    const [x, weight, bias] = [made(4, 8), made(8, 8), made(8)];
    const before = device.memory().liveBytes;
    const y = linear(x, weight, bias, { activation: 'silu' });
    expect(device.memory().liveBytes - before).toBe(2 * y.storage.buffer.size);
    y.dispose();
    expect(device.memory().liveBytes).toBe(before);
    const frozen = linear(x.detach(), weight.detach(), bias.detach(), { activation: 'silu' });
    expect(device.memory().liveBytes - before).toBe(frozen.storage.buffer.size);
    frozen.dispose();
  });

  test('the gradient of a weight over many rows keeps within what float64 finds', async () => {
    const [rows, n, k] = [1100, 8, 12];
    const [x, g] = [made(rows, k), made(rows, n)];
    using product = scope(() => matmul(g, x, { transposeA: true }).detach());
    const [left, right, actual] = [await g.read(), await x.read(), await product.read()];
    for (const [i, j] of [
      [0, 0],
      [7, 11],
      [3, 5],
    ] as const) {
      let expected = 0;
      for (let row = 0; row < rows; row++) expected += left[row * n + i]! * right[row * k + j]!;
      expect(Math.abs(actual[i * k + j]! - expected)).toBeLessThan(4 * rows * 2 ** -24);
    }
  });

  test('a layer without a bias has the bits of one whose bias is zero, and so do its gradients', async () => {
    const [rows, n, k] = extents[0]!;
    const [x, weight, residual, weights] = [made(rows, k), made(n, k), made(rows, n), made(rows, n)];
    const [without, zero] = [null, zeros(device, [n])].map((bias) =>
      bitsWithGradients(() => linear(x, weight, bias, { residual }), [x, weight, residual], weights),
    );
    expect(await without).toEqual(await zero);
  });

  test('a residual of another shape is refused', () => {
    const z = (...shape: number[]) => zeros(device, shape);
    expect(() => scope(() => linear(z(2, 5), z(3, 5), z(3), { residual: z(2, 4) }))).toThrow(
      new ShapeError(
        'linear: the result [2,3] of x [2,5] with weight [3,5] and residual [2,4] differ in axis 1',
      ),
    );
  });
});
