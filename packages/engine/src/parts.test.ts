import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  AdamW,
  add,
  affine,
  attention,
  byteHash,
  byteHashOf,
  cachedAttention,
  cacheWrite,
  capture,
  cast,
  concat,
  crossEntropy,
  Device,
  dequantise,
  divide,
  dropout,
  EngineError,
  embedding,
  expand,
  fill,
  GradientAccumulator,
  gatherRows,
  gelu,
  gradients,
  iota,
  layerNorm,
  less,
  linear,
  loraLinear,
  matmul,
  max,
  meanSquaredError,
  multiply,
  normal,
  operations,
  pad,
  permute,
  philox,
  quantise,
  randomState,
  reshape,
  rmsNorm,
  rope,
  ropeTable,
  SGD,
  type Shape,
  scope,
  sizeOf,
  slice,
  softmax,
  sum,
  swiglu,
  type Tensor,
  take,
  tensor,
  topK,
  total,
  uniform,
  uniformValues,
  vocabularyCrossEntropy,
  where,
  zeros,
} from './index.ts';
import { bitsOf, bitsOfAll } from './testing/block.ts';
import { computeCase } from './testing/check-case.ts';

const LIMIT = 65_536;

let whole: Device;
let cut: Device;
/** Products of little depth, which compile in no time, are over its limit. */
let tight: Device;
beforeAll(async () => {
  whole = await Device.open();
  cut = await Device.open({ bindingLimitBytes: LIMIT });
  tight = await Device.open({ bindingLimitBytes: LIMIT / 4 });
});
afterAll(() => {
  whole.close();
  cut.close();
  tight.close();
});

const values = (device: Device, shape: Shape, seed: number) =>
  tensor(device, uniformValues(sizeOf(shape), 2, [seed, 7], 0), shape, { trainable: true });
const words = (device: Device, count: number, below: number) =>
  tensor(
    device,
    Uint32Array.from({ length: count }, (_, i) => philox([i, 0, 0, 0], [3, 7])[0] % below),
  );

/** The bits of a result and of the gradients of `shapes`, some of which are over the limit. */
async function bits(device: Device, shapes: readonly Shape[], run: (...x: Tensor[]) => Tensor) {
  const computed = scope(() => {
    const inputs = shapes.map((shape, i) => values(device, shape, i + 1));
    const y = run(...inputs);
    if (!y.isTracked) return [y];
    const weights = values(device, y.shape, 99).detach();
    return [y, ...gradients(total(multiply(y, weights)), inputs)];
  });
  const found = await bitsOfAll(computed);
  for (const each of computed) each.dispose();
  return found;
}

const ROWS = 600;
const WIDE: Shape = [ROWS, 64]; // 153,600 bytes: three windows

describe('tensors over the binding limit give the bits of the whole', () => {
  test.each<[string, readonly Shape[], (...x: Tensor[]) => Tensor]>([
    ['unary', [WIDE], (x) => gelu(x)],
    ['affine', [[30_001]], (x) => affine(x, 2, 1)],
    ['binary', [WIDE, WIDE], (x, y) => divide(x, y)],
    ['broadcast along rows', [WIDE, [64]], (x, y) => multiply(x, y)],
    [
      'broadcast along columns',
      [
        [ROWS, 63],
        [ROWS, 1],
      ],
      (x, y) => add(x, y),
    ],
    [
      'broadcast of two small ones',
      [
        [300, 1],
        [1, 101],
      ],
      (x, y) => multiply(x, y),
    ],
    ['broadcast by long rows', [[3, 20_000]], (x) => multiply(x, values(x.device, [20_000], 8).detach())],
    ['fill', [WIDE], (x) => add(x, fill(x.device, WIDE, 3))],
    ['softmax', [[ROWS, 101]], (x) => softmax(x)],
    ['layerNorm, narrow', [[2 * ROWS, 32], [32], [32]], (x, w, b) => layerNorm(x, w, b, 1e-6)],
    [
      'layerNorm, wide',
      [[80, 260]],
      (x) => layerNorm(x, fill(x.device, [260], 2), fill(x.device, [260], 1), 1e-6),
    ],
    ['sum over the last axis', [[ROWS, 101]], (x) => sum(x, 1)],
    ['sum over the first axis', [[1000, 33]], (x) => sum(x, 0)],
    ['sum over an axis between', [[3, 1000, 33]], (x) => sum(x, 1)],
    ['total', [[60_001]], (x) => total(x)],
    ['max', [[ROWS, 101]], (x) => max(x, 1)],
    ['permute', [[101, 203]], (x) => permute(x, [1, 0])],
    ['permute of four axes', [[5, 41, 3, 32]], (x) => permute(x, [0, 2, 1, 3])],
    ['slice and pad', [[ROWS, 101]], (x) => pad(slice(x, 1, 3, 90), 0, 5, ROWS + 10)],
    [
      'concat',
      [
        [100, 101],
        [170, 101],
        [1, 101],
      ],
      (x, y, z) => concat([x, y, z], 0),
    ],
    [
      'concat of columns',
      [
        [300, 33],
        [300, 50],
      ],
      (x, y) => concat([x, y], 1),
    ],
    ['expand', [[1, 101]], (x) => expand(x, [200, 101])],
    ['rmsNorm', [[80, 260]], (x) => rmsNorm(x, fill(x.device, [260], 2), 1e-6)],
    [
      'vocabularyCrossEntropy',
      [[1200, 16]],
      (x) => {
        const weight = values(x.device, [64, 16], 8).detach();
        return vocabularyCrossEntropy(x, weight, words(x.device, 1200, 64), fill(x.device, [1200], 1), 32);
      },
    ],
    ['swiglu', [WIDE, WIDE], (x, y) => swiglu(x, y)],
    [
      'meanSquaredError',
      [
        [ROWS, 101],
        [ROWS, 101],
      ],
      (x, y) => meanSquaredError(x, y, fill(x.device, [ROWS], 0.5)),
    ],
    ['take', [[ROWS, 101]], (x) => take(x, reshape(words(x.device, 3 * ROWS, 101), [ROWS, 3]))],
    ['topK', [[ROWS, 101]], (x) => topK(x, 4).values],
    ['dropout', [WIDE], (x) => dropout(x, randomState(x.device, [1, 2], 3), 0.3, 5)],
    [
      'crossEntropy',
      [[200, 101]],
      (x) => crossEntropy(x, words(x.device, 200, 101), fill(x.device, [200], 1)),
    ],
    [
      'where and a comparison',
      [
        [ROWS, 101],
        [ROWS, 101],
      ],
      (x, y) => where(less(x, y), x, y),
    ],
    ['where and a comparison, broadcast', [[ROWS, 1], [101]], (x, y) => where(less(x, y), x, y)],
    ['embedding of a large table', [WIDE], (x) => embedding(x, words(x.device, 50, ROWS))],
    ['embedding of odd rows', [[ROWS, 33]], (x) => embedding(x, words(x.device, 50, ROWS))],
    ['embedding of many rows', [[10, 64]], (x) => embedding(x, words(x.device, 1000, 10))],
    ['embedding of many narrow rows', [[10, 1]], (x) => embedding(x, words(x.device, 17_000, 12))],
    [
      'cacheWrite of one batch row',
      [
        [1, ROWS, 64],
        [1, 300, 64],
      ],
      (cache, x) => {
        cacheWrite(cache.detach(), x.detach(), words(x.device, 1, 400));
        return cache.detach();
      },
    ],
    [
      'cacheWrite and cachedAttention',
      [
        [3, 9, 64],
        [3, 9, 64],
        [3, 100, 64],
        [3, 100, 64],
      ],
      (q, x, ...caches) => {
        const [keys, places] = caches.map((each) => each.detach()) as [Tensor, Tensor];
        const start = words(q.device, 3, 95);
        for (const each of [keys, places]) cacheWrite(each, x.detach(), start);
        return cachedAttention(q.detach(), { keys, values: places }, start, 8);
      },
    ],
    [
      'cacheWrite and cachedAttention of named rows',
      [
        [2, 9, 64],
        [2, 9, 64],
        [5, 100, 64],
        [5, 100, 64],
      ],
      (q, x, ...caches) => {
        const [keys, places] = caches.map((each) => each.detach()) as [Tensor, Tensor];
        const start = words(q.device, 2, 95);
        const rows = tensor(q.device, Uint32Array.of(4, 1));
        for (const each of [keys, places]) cacheWrite(each, x.detach(), start, rows);
        return cachedAttention(q.detach(), { keys, values: places, rows }, start, 8);
      },
    ],
    ['uniform', [[1]], (x) => uniform(randomState(x.device, [1, 2], 3), WIDE, 5)],
    ['normal', [[1]], (x) => normal(randomState(x.device, [1, 2], 3), WIDE, 5)],
    ['iota', [[1]], (x) => iota(x.device, [30_001])],
    [
      'rope',
      [[3, 200, 64]],
      (x) => rope(x, ropeTable(x.device, { headWidth: 32, positions: 210 }), words(x.device, 3, 9)),
    ],
    [
      'rope from the start',
      [[200, 3, 64]],
      (x) => rope(x, ropeTable(x.device, { headWidth: 32, positions: 3 })),
    ],
    [
      'attention',
      [
        [150, 9, 16],
        [150, 9, 16],
        [150, 9, 16],
      ],
      (q, k, v) => attention(q, k, v, 2),
    ],
    [
      'attention, masked and causal',
      [
        [150, 9, 16],
        [150, 9, 8],
        [150, 9, 8],
      ],
      (q, k, v) => {
        const mask = reshape(words(q.device, 150 * 9, 3), [150, 9]);
        return attention(q, k, v, 4, { keyValueHeads: 2, causal: true, mask });
      },
    ],
    ['cast to f16 and back', [[ROWS, 101]], (x) => cast(cast(x.detach(), 'f16'), 'f32')],
    ...(['int8', 'int4x32'] as const).map((dtype): [string, readonly Shape[], (x: Tensor) => Tensor] => [
      `dequantise ${dtype}`,
      [[1]],
      (x) => dequantise(quantise(x.device, uniformValues(153_600, 1, [8, 7], 0), [1600, 96], dtype)),
    ]),
    [
      'linear over a frozen weight over the limit, and its gradient',
      [[9, 64]],
      (x) => {
        const weight = quantise(x.device, uniformValues(1088 * 64, 1, [8, 7], 0), [1088, 64], 'int8');
        return linear(x, weight, fill(x.device, [1088], 1));
      },
    ],
    ['gatherRows of a large table', [WIDE], (x) => gatherRows(x.detach(), words(x.device, 50, ROWS))],
    ['gatherRows of many rows', [[10, 64]], (x) => gatherRows(x.detach(), words(x.device, 1000, 10))],
  ])('%s', async (_title, shapes, run) => {
    expect(await bits(cut, shapes, run)).toEqual(await bits(whole, shapes, run));
  });

  // Forward only: their gradients are products again. All with a k of 16, to share kernels.
  test.each<[string, readonly Shape[], (...x: Tensor[]) => Tensor]>([
    [
      'matmul by rows',
      [
        [ROWS, 16],
        [16, 4],
      ],
      (a, b) => matmul(a, b),
    ],
    [
      'matmul by columns',
      [
        [6, 16],
        [16, 603],
      ],
      (a, b) => matmul(a, b),
    ],
    [
      'matmul, all over the limit',
      [
        [270, 16],
        [280, 16],
      ],
      (a, b) => matmul(a, b, { transposeB: true }),
    ],
    [
      'matmul, odd',
      [
        [260, 16],
        [261, 16],
      ],
      (a, b) => matmul(a, b, { transposeB: true, alpha: 0.5 }),
    ],
    [
      'matmul, transposed',
      [
        [16, 270],
        [16, 280],
      ],
      (a, b) => matmul(a, b, { transposeA: true }),
    ],
    [
      'matmul, both transposed',
      [
        [16, 270],
        [280, 16],
      ],
      (a, b) => matmul(a, b, { transposeA: true, transposeB: true }),
    ],
    [
      'matmul in batches',
      [
        [9, 40, 16],
        [9, 16, 36],
      ],
      (a, b) => matmul(a, b),
    ],
    [
      'matmul in batches over the limit each',
      [
        [2, 270, 16],
        [2, 16, 260],
      ],
      (a, b) => matmul(a, b),
    ],
    ['linear, rows of x', [[5, 120, 16], [20, 16], [20]], (x, w, b) => linear(x, w, b)],
    ['linear, rows of the weight', [[6, 16], [600, 16], [600]], (x, w, b) => linear(x, w, b)],
    [
      'linear with an activation, then one with a residual',
      [[ROWS, 16], [16, 16], [16]],
      (x, w, b) => linear(linear(x, w, b, { activation: 'gelu' }), w, b, { residual: x }),
    ],
    [
      'linear over a frozen weight',
      [[ROWS, 16], [16]],
      (x, b) => linear(x, quantise(x.device, uniformValues(256, 1, [8, 7], 0), [16, 16], 'int8'), b),
    ],
    [
      'loraLinear',
      [[ROWS, 16], [136, 16], [136], [8, 16], [136, 8]],
      (x, w, b, down, up) => loraLinear(x, w, b, { down, up, scale: 2 }),
    ],
  ])('%s', async (_title, shapes, run) => {
    const forward = (...x: Tensor[]) => run(...x.map((each) => each.detach()));
    expect(await bits(tight, shapes, forward)).toEqual(await bits(whole, shapes, forward));
  });

  test.each([
    [
      'AdamW',
      (device: Device, weight: Tensor) => new AdamW(device, [weight], { clipNorm: 1, weightDecay: 0.1 }),
    ],
    ['SGD', (device: Device, weight: Tensor) => new SGD(device, [weight], { clipNorm: 1, momentum: 0.9 })],
  ])('%s with clipping and accumulated gradients, eager and captured', async (_name, make) => {
    const trained = async (device: Device, captured: boolean) => {
      const weight = values(device, WIDE, 1);
      const optimiser = make(device, weight);
      const sums = new GradientAccumulator(device, [weight]);
      const step = () => {
        const loss = total(multiply(gelu(weight), weight));
        sums.add(gradients(loss, [weight]));
        optimiser.apply(sums.gradients);
        return loss;
      };
      const replayed = captured ? capture(device, step) : null;
      for (let at = 0; at < 3; at++) {
        optimiser.begin(0.1);
        if (replayed) replayed.replay();
        else scope(step).dispose();
      }
      const found = bitsOf(await weight.read());
      replayed?.dispose();
      optimiser.dispose();
      sums.dispose();
      weight.dispose();
      return found;
    };
    const expected = await trained(whole, false);
    expect(await trained(cut, false)).toBe(expected);
    expect(await trained(cut, true)).toBe(expected);
  });
});

test('the hash of a tensor over the limit is that of its bytes', async () => {
  const data = uniformValues(30_001, 1, [8, 7], 0);
  using x = tensor(cut, data);
  expect(await byteHash(x)).toBe(byteHashOf(new Uint8Array(data.buffer)));
});

test('every case of the table agrees with the whole, or says what is over the limit', async () => {
  using small = await Device.open({ bindingLimitBytes: 1024 });
  const refused = new Set<string>();
  for (const [name, operation] of operations) {
    // Their cases are above: here, compiling kernels for each inner extent would take most of the time.
    if (/matmul|linear|vocabulary/i.test(name)) continue;
    for (const testCase of operation.declaration.cases) {
      const before = small.memory().liveBytes;
      try {
        const { values: found } = await computeCase(small, operation, testCase);
        const { values: expected } = await computeCase(whole, operation, testCase);
        expect(found.map(bitsOf), `${name} ${JSON.stringify(testCase)}`).toEqual(expected.map(bitsOf));
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
        expect(error.message).toMatch(/^[\w/]+: .* over this adapter's binding limit of 1024\b/);
        refused.add(name);
      }
      expect(small.memory().liveBytes, name).toBe(before);
    }
  }
  expect(refused.size).toBeLessThan(operations.size / 2);
});

test('a kernel that cannot be cut is refused by name, and the device goes on', async () => {
  const q = zeros(cut, [1, ROWS, 64]);
  expect(() =>
    cut.dispatch('sort/count', { bindings: [q.storage], writes: [0], workgroups: [1, 1, 1] }),
  ).toThrow(`sort/count: a tensor of ${ROWS * 256} bytes is over this adapter's binding limit of ${LIMIT}`);
  expect((await q.read()).every((value) => value === 0)).toBe(true);
  // Of rows this wide fewer are within the limit than lie between two places where a window of their indices may begin.
  const table = values(cut, [4, 512], 1);
  const refusal = new RegExp(
    `a tensor of ${50 * 2048} bytes is over this adapter's binding limit of ${LIMIT}`,
  );
  for (const look of [embedding, gatherRows])
    expect(() => scope(() => look(table.detach(), words(cut, 50, 4)))).toThrow(refusal);
  for (const each of [q, table]) each.dispose();
});
