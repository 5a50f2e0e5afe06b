import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type AdapterClass,
  capture,
  Device,
  gradients,
  groupedLoraLinear,
  loraLinear,
  multiply,
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
import { bitsOf, bitsOfAll } from '../testing/block.ts';

const COMPILING = 120_000;

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

  // Extents that fill tiles and texels, and some that fill neither.
  test.each([
    { groups: 3, rows: 40, n: 64, k: 130, rank: 16 },
    { groups: 5, rows: 7, n: 10, k: 12, rank: 3 },
    { groups: 2, rows: 1, n: 8, k: 8, rank: 8 },
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
    const attempt = (x: Tensor, down: Tensor, up: Tensor) => () =>
      scope(() => groupedLoraLinear(x, z(6, 8), z(6), { down, up, scale: 1 }));
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
  });
});
