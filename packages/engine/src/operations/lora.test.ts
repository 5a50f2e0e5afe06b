import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type AdapterClass,
  add,
  capture,
  Device,
  type FrozenType,
  gradients,
  groupedLoraLinear,
  loraLinear,
  multiply,
  quantise,
  reshape,
  ShapeError,
  scope,
  slice,
  type Tensor,
  tensor,
  total,
  uniformValues,
  zeros,
} from '../index.ts';
import { launchProduct } from '../product.ts';
import { sizeOf } from '../tensor.ts';
import { bitsOf, bitsOfAll } from '../testing/block.ts';

const COMPILING = 120_000;

interface Extents {
  groups: number;
  rows: number;
  n: number;
  k: number;
  rank: number;
}

/** The same as a base product and two low-rank ones. */
function inThreeProducts(
  x: Tensor,
  weight: Tensor,
  bias: Tensor,
  { down, up, scale }: { down: Tensor; up: Tensor; scale: number },
  { groups, rows, n, k, rank }: Extents,
): Tensor {
  const turned = { transposeA: false, transposeB: true };
  const [y, hidden] = [zeros(x.device, [groups, rows, n]), zeros(x.device, [groups, rows, rank])];
  launchProduct({ ...turned, batch: 1, m: groups * rows, n, k }, x, weight, y, 1, { bias });
  launchProduct({ ...turned, batch: groups, m: rows, n: rank, k }, x, down, hidden);
  launchProduct({ ...turned, batch: groups, m: rows, n, k: rank }, hidden, up, y, scale, {
    accumulate: true,
  });
  return y;
}

describe.each<AdapterClass | undefined>([undefined, 'portable', 'gpu'])('class %s', (adapterClass) => {
  let device: Device;
  beforeAll(async () => {
    device = await Device.open({ adapterClass });
  });
  afterAll(() => device.close());

  let stream = 0;
  const made = (trainable: boolean, ...shape: number[]) =>
    tensor(
      device,
      uniformValues(
        shape.reduce((a, b) => a * b, 1),
        1,
        [21, 5],
        stream++,
      ),
      shape,
      { trainable },
    );

  // Extents that fill tiles and texels, and some that fill neither. Every extent is kernels to compile: few of them.
  const small = { rows: 1, n: 10, k: 12, rank: 3 };
  test.each([
    { groups: 3, rows: 40, n: 64, k: 130, rank: 16 },
    { groups: 5, ...small },
  ])(
    'each group has the bits of loraLinear for it alone, forward and backward: %o',
    async ({ groups, rows, n, k, rank }) => {
      const [weight, bias] = [made(false, n, k), made(false, n)];
      const x = made(true, groups, rows, k);
      const adapters = { down: made(true, groups, rank, k), up: made(true, groups, n, rank), scale: 0.7 };
      const weights = made(false, groups, rows, n);
      const computed = scope(() => {
        const layers = [
          groupedLoraLinear(x, weight, bias, adapters),
          groupedLoraLinear(x, weight, bias, { ...adapters, adapted: multiply(x, x) }),
        ];
        return layers.flatMap((y) => [
          y,
          ...gradients(total(multiply(y, weights)), [x, adapters.down, adapters.up]),
        ]);
      });
      for (let group = 0; group < groups; group++) {
        const own = (t: Tensor) => scope(() => reshape(slice(t, 0, group, 1), t.shape.slice(1)).detach());
        const alone = [x, adapters.down, adapters.up].map(own);
        for (const each of alone) each.trainable = true;
        const [x1, down, up] = alone as [Tensor, Tensor, Tensor];
        const w = own(weights);
        const expected = scope(() => {
          const layers = [
            loraLinear(x1, weight, bias, { down, up, scale: 0.7 }),
            loraLinear(x1, weight, bias, { down, up, scale: 0.7, adapted: multiply(x1, x1) }),
          ];
          return layers.flatMap((y) => [y, ...gradients(total(multiply(y, w)), alone)]);
        });
        expect(await bitsOfAll(computed.map(own))).toEqual(await bitsOfAll(expected));
      }
    },
    COMPILING,
  );

  test('entries that name their adapters have the bits of loraLinear, and an adapter the sum of their gradients, in order', async () => {
    const { rows, n, k, rank } = small;
    const pool = 3;
    const of = [2, 0, 2, 2];
    const [weight, bias] = [made(false, n, k), made(false, n)];
    const x = made(true, of.length, rows, k);
    const adapters = { down: made(true, pool, rank, k), up: made(true, pool, n, rank), scale: 0.7 };
    const weights = made(false, of.length, rows, n);
    const part = (t: Tensor, at: number) => reshape(slice(t, 0, at, 1), t.shape.slice(1)).detach();
    const names = tensor(device, Uint32Array.from(of));
    const [y, dx, dDown, dUp] = scope(() => {
      const y = groupedLoraLinear(x, weight, bias, { ...adapters, of: names });
      return [y, ...gradients(total(multiply(y, weights)), [x, adapters.down, adapters.up])];
    }) as [Tensor, Tensor, Tensor, Tensor];
    const sums = new Map<number, Tensor[]>();
    for (const [entry, adapter] of of.entries()) {
      const [alone, sum] = scope(() => {
        const parts = [part(x, entry), part(adapters.down, adapter), part(adapters.up, adapter)];
        for (const each of parts) each.trainable = true;
        const [x1, down, up] = parts as [Tensor, Tensor, Tensor];
        const one = loraLinear(x1, weight, bias, { down, up, scale: 0.7 });
        const [dx1, ...own] = gradients(total(multiply(one, part(weights, entry))), parts);
        const before = sums.get(adapter);
        return [[one, dx1!], own.map((gradient, i) => (before ? add(before[i]!, gradient) : gradient))];
      });
      sums.set(adapter, sum!);
      expect(await bitsOfAll(scope(() => [part(y, entry), part(dx, entry)]))).toEqual(
        await bitsOfAll(alone!),
      );
    }
    for (let adapter = 0; adapter < pool; adapter++) {
      const expected = sums.get(adapter) ?? [zeros(device, [rank, k]), zeros(device, [n, rank])];
      const got = scope(() => [part(dDown, adapter), part(dUp, adapter)]);
      expect(await bitsOfAll(got)).toEqual(await bitsOfAll(expected));
    }
  });

  // Groups that end within tiles; a rank that fills no texels and takes more than one of every lane; a packed weight (that its type
  // changes no bits is a test beside the packings).
  test.each<Extents & { dtype?: FrozenType }>([
    { groups: 3, rows: 40, n: 64, k: 130, rank: 16 },
    { groups: 2, rows: 34, n: 12, k: 16, rank: 38, dtype: 'int8' },
  ])(
    'the change has the bits of a product of its own, in one launch less: %o',
    async ({ dtype, ...extents }) => {
      const { groups, rows, n, k, rank } = extents;
      const whole = made(false, n, k);
      const weight = dtype ? quantise(device, await whole.read(), [n, k], dtype) : whole;
      const [x, bias] = [made(false, groups, rows, k), made(false, n)];
      const adapters = { down: made(false, groups, rank, k), up: made(false, groups, n, rank), scale: 0.7 };
      const both = capture(device, () => ({
        fused: groupedLoraLinear(x, weight, bias, adapters),
        apart: inThreeProducts(x, weight, bias, adapters, extents),
      }));
      both.replay();
      const bits = bitsOf(await both.outputs.fused.read());
      expect(bits).toBe(bitsOf(await both.outputs.apart.read()));
      const times = await both.profile(1);
      const products = times.filter(({ kernel }) =>
        /^matmul.(panel|broadcast|tiled|registers) /.test(kernel),
      );
      expect(products.reduce((sum, { launches }) => sum + launches, 0)).toBe(2 + 3);
      both.dispose();
    },
    COMPILING,
  );

  test('what is no number in one adapter stays there', async () => {
    const [groups, rows, n, k, rank] = [2, 34, 12, 16, 38];
    const [x, weight, bias] = [made(false, groups, rows, k), made(false, n, k), made(false, n)];
    const [down, up] = [made(false, groups, rank, k), await made(false, groups, n, rank).read()];
    const computed = (values: Float32Array<ArrayBuffer>) =>
      scope(() =>
        groupedLoraLinear(x, weight, bias, { down, up: tensor(device, values, [groups, n, rank]), scale: 1 }),
      );
    const sound = await computed(up).read();
    const spoilt = await computed(up.map((value, i) => (i < n * rank ? Number.NaN : value))).read();
    expect(spoilt.subarray(0, rows * n).every(Number.isNaN)).toBe(true);
    expect(bitsOf(spoilt.subarray(rows * n))).toBe(bitsOf(sound.subarray(rows * n)));
  });
});

describe('groups', () => {
  let device: Device;
  beforeAll(async () => {
    device = await Device.open();
  });
  afterAll(() => device.close());

  test('captured gives the bits of eager', async () => {
    const list = (n: number, seed: number) => uniformValues(n, 1, [seed, 3], 0);
    const x = tensor(device, list(2 * 5 * 8, 1), [2, 5, 8]);
    const weight = tensor(device, list(64, 2), [8, 8], { constant: true });
    const bias = tensor(device, list(8, 3));
    const down = tensor(device, list(64, 4), [2, 4, 8], { trainable: true });
    const up = tensor(device, list(64, 5), [2, 8, 4], { trainable: true });
    const step = () => {
      const y = groupedLoraLinear(x, weight, bias, { down, up, scale: 2 });
      return [y, ...gradients(total(multiply(y, y)), [down, up])];
    };
    const captured = capture(device, step);
    captured.replay();
    const bits: string[] = [];
    for (const each of captured.outputs) bits.push(bitsOf(await each.read()));
    expect(bits).toEqual(await bitsOfAll(scope(step)));
    captured.dispose();
  });

  test('adapters that do not fit are refused by name', () => {
    const z = (...shape: number[]) => zeros(device, shape);
    const attempt = (x: Tensor, down: Tensor, up: Tensor, of?: Tensor) => () =>
      scope(() => groupedLoraLinear(x, z(6, 8), z(6), { down, up, scale: 1, ...(of && { of }) }));
    expect(attempt(z(2, 3, 8), z(3, 4, 8), z(3, 6, 4))).toThrow(
      new ShapeError(
        'groupedLoraLinear: x [2,3,8], A [3,4,8] and B [3,6,4] differ in axis 0, which counts the groups',
      ),
    );
    expect(attempt(z(2, 3, 8), z(2, 4, 8), z(2, 6, 5))).toThrow(
      new ShapeError(
        'groupedLoraLinear: the last two axes of B [2,6,5] are not axis 0 of weight [6,8] and the rank of A [2,4,8]',
      ),
    );
    expect(attempt(z(2, 3, 7), z(2, 4, 7), z(2, 6, 4))).toThrow(
      new ShapeError('groupedLoraLinear: the last axis of x [2,3,7] is not axis 1 of weight [6,8]'),
    );
    const named = (x: Tensor, down: Tensor, up: Tensor, ...of: number[]) =>
      attempt(x, down, up, tensor(device, new Uint32Array(sizeOf(of)), of));
    expect(named(z(2, 3, 8), z(5, 4, 8), z(5, 6, 4), 3)).toThrow(
      new ShapeError('groupedLoraLinear: of [3] does not name one adapter for each entry of x [2,3,8]'),
    );
    expect(named(z(2, 3, 8), z(5, 4, 8), z(4, 6, 4), 2)).toThrow(
      new ShapeError(
        'groupedLoraLinear: A [5,4,8] and B [4,6,4] differ in axis 0, which counts the adapters',
      ),
    );
  });
});
