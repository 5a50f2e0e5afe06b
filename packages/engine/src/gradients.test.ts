import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  add,
  affine,
  attention,
  concat,
  crossEntropy,
  Device,
  EngineError,
  expand,
  gatherRows,
  gradients,
  layerNorm,
  linear,
  loraLinear,
  matmul,
  max,
  multiply,
  pad,
  permute,
  reshape,
  type Shape,
  ShapeError,
  scope,
  slice,
  square,
  sum,
  type Tensor,
  tensor,
  total,
  withoutGradients,
  zeros,
} from './index.ts';

let device: Device;
beforeAll(async () => {
  device = await Device.open();
});
afterAll(() => device.close());

const parameter = (...values: number[]) => tensor(device, values, [values.length], { trainable: true });

/** The values of the gradients of `loss()` for `parameters`. */
async function gradientsOf(loss: () => Tensor, parameters: Tensor[]): Promise<number[][]> {
  const found = scope(() => gradients(loss(), parameters));
  const values: number[][] = [];
  for (const gradient of found) {
    values.push([...(await gradient.read())]);
    gradient.dispose();
  }
  return values;
}

describe('where a tensor is used more than once', () => {
  test('an input given twice gets the sum', async () => {
    const x = parameter(1, 2, 3);
    expect(await gradientsOf(() => total(multiply(x, x)), [x])).toEqual([[2, 4, 6]]);
    expect(await gradientsOf(() => total(add(x, x)), [x])).toEqual([[2, 2, 2]]);
    x.dispose();
  });

  test('paths of different lengths are all counted, in a diamond and through views', async () => {
    const x = parameter(1, 2, 3);
    // y = x^2;  loss = sum(y + y * x + reshape(y)) = sum(2 x^2 + x^3):  4 x + 3 x^2
    const loss = () => {
      const y = square(x);
      return total(add(add(y, multiply(y, x)), reshape(reshape(y, [3, 1]), [3])));
    };
    expect(await gradientsOf(loss, [x])).toEqual([[7, 20, 39]]);
    x.dispose();
  });

  test('two parameters may share one gradient, and each is disposed by itself', async () => {
    const [x, y] = [parameter(1, 2), parameter(3, 4)];
    const [first, second] = scope(() => gradients(total(add(x, y)), [x, y]));
    first!.dispose();
    expect([...(await second!.read())]).toEqual([1, 1]);
    expect(await gradientsOf(() => total(add(x, y)), [x, x])).toEqual([
      [1, 1],
      [1, 1],
    ]);
    for (const each of [second!, x, y]) each.dispose();
  });

  test('gradients of broadcast operands are summed over what was repeated', async () => {
    const [x, y] = [parameter(1, 2, 3), tensor(device, [10, 20], [2, 1], { trainable: true })];
    expect(await gradientsOf(() => total(multiply(x, y)), [x, y])).toEqual([
      [30, 30, 30],
      [6, 6],
    ]);
    x.dispose();
    y.dispose();
  });
});

describe('where gradients stop', () => {
  test('detach() cuts one path and leaves the others', async () => {
    const x = parameter(1, 2, 3);
    expect(await gradientsOf(() => total(multiply(x, square(x).detach())), [x])).toEqual([[1, 4, 9]]);
    x.dispose();
  });

  test('withoutGradients() records nothing, also when its body throws, and nests', async () => {
    const x = parameter(1, 2, 3);
    expect(() =>
      withoutGradients(() => {
        throw new RangeError('on purpose');
      }),
    ).toThrow('on purpose');
    const loss = () => {
      const frozen = withoutGradients(() => {
        withoutGradients(() => square(x));
        const y = square(x);
        expect(y.isTracked).toBe(false);
        expect(reshape(x, [3, 1]).isTracked).toBe(false);
        return y;
      });
      return total(multiply(frozen, x));
    };
    expect(await gradientsOf(loss, [x])).toEqual([[1, 4, 9]]);
    x.dispose();
  });

  test('nothing is recorded or computed below the lowest trainable tensor', () => {
    const [frozen, x] = [tensor(device, [1, 2, 3]), parameter(1, 2, 3)];
    scope(() => {
      const below = square(frozen);
      expect(below.isTracked).toBe(false);
      const above = multiply(below, x);
      expect(above.node!.wanted).toEqual([false, true]);
    });
    frozen.dispose();
    x.dispose();
  });

  test('operations without a rule stop them', () => {
    const x = parameter(1, 2, 3);
    scope(() => expect(max(x, 0).isTracked).toBe(false));
    x.dispose();
  });
});

describe('what cannot be differentiated is an error', () => {
  test('a parameter that the loss does not depend on, by its index', () => {
    const [x, y] = [parameter(1), parameter(2)];
    const attempt = (loss: () => Tensor) => () => scope(() => gradients(loss(), [x, y]));
    expect(attempt(() => total(square(x)))).toThrow('gradients: the loss does not depend on parameter 1');
    expect(attempt(() => total(square(x.detach())))).toThrow('does not depend on parameter 0');
    x.dispose();
    y.dispose();
  });

  test('a loss of more than one element', () => {
    const x = parameter(1, 2, 3);
    expect(() => scope(() => gradients(square(x), [x]))).toThrow(
      'gradients: the loss has shape [3], not one element',
    );
    x.dispose();
  });

  test('a tensor of the tape that was disposed: its share must not go missing silently', () => {
    const x = parameter(1, 2, 3);
    scope(() => {
      const y = square(x);
      // Two ways from the loss to x; one leads through y.
      const loss = total(add(multiply(y, x), x));
      y.dispose();
      expect(() => gradients(loss, [x])).toThrow(EngineError);
      expect(() => gradients(loss, [x])).toThrow(/gradients: .*\[3\].*disposed/);
    });
    const loss = scope(() => total(square(square(x))));
    expect(() => gradients(loss, [x])).toThrow(/disposed/);
    loss.dispose();
    expect(() => gradients(loss, [x])).toThrow('use of a disposed tensor of shape [1]');
    x.dispose();
  });

  test('and leaves nothing behind', () => {
    const before = device.memory().liveBytes;
    const [x, y] = [parameter(1), parameter(2)];
    expect(() => scope(() => gradients(total(square(square(x))), [x, y]))).toThrow();
    x.dispose();
    y.dispose();
    expect(device.memory().liveBytes).toBe(before);
  });
});

describe('shapes that do not fit', () => {
  const z = (...shape: Shape) => zeros(device, shape);
  const u = (...shape: Shape) => zeros(device, shape, { dtype: 'u32' });
  const adapter = (down: Tensor, up: Tensor) => ({ down, up, scale: 1 });

  test.each<[string, () => unknown]>([
    ['add: shapes [2,3] and [2,4] do not broadcast in axis 1', () => add(z(2, 3), z(2, 4))],
    ['multiply: shapes [5,1,2] and [3] do not broadcast in axis 2', () => multiply(z(5, 1, 2), z(3))],
    ['add: more than 6 axes in [2,2,2,2,2,2,2]', () => add(z(2, 1, 2, 1, 2, 1, 2), z(2, 1, 2, 1, 2, 1))],
    ['matmul: the inner axes of [2,3] and [4,5] are 3 and 4', () => matmul(z(2, 3), z(4, 5))],
    [
      'matmul: the inner axes of [2,3] and [3,5] are 2 and 3',
      () => matmul(z(2, 3), z(3, 5), { transposeA: true }),
    ],
    ['matmul: [2,3,4] and [5,4,6] differ in axis 0', () => matmul(z(2, 3, 4), z(5, 4, 6))],
    [
      'matmul: [4] and [4,4] must both be matrices, or both be batches of matrices',
      () => matmul(z(4), z(4, 4)),
    ],
    ['linear: the last axis of [2,4] is not the last of weight [3,5]', () => linear(z(2, 4), z(3, 5), z(3))],
    ['linear: bias [4] does not fit axis 0 of weight [3,5]', () => linear(z(2, 5), z(3, 5), z(4))],
    [
      'loraLinear: the last axis of A [2,4] is not axis 1 of weight [3,5]',
      () => loraLinear(z(2, 5), z(3, 5), z(3), adapter(z(2, 4), z(3, 2))),
    ],
    ['reshape: [2,3] does not fit [4,2]', () => reshape(z(2, 3), [4, 2])],
    ['reshape: [2,3] does not fit [4,-1]', () => reshape(z(2, 3), [4, -1])],
    ['permute: axes [0,0] are no order of the axes of [2,3]', () => permute(z(2, 3), [0, 0])],
    ['slice: 1..4 is outside axis 0 of [3,2]', () => slice(z(3, 2), 0, 1, 3)],
    ['slice: axis 2 is not one of shape [3,2]', () => slice(z(3, 2), 2, 0, 1)],
    ['pad: [3,2] at 2 does not fit 4 in axis 0', () => pad(z(3, 2), 0, 2, 4)],
    ['concat: shapes [2,3] and [3,2] differ in axis 1, not 0 alone', () => concat([z(2, 3), z(3, 2)], 0)],
    ['expand: [2,3] does not repeat to [2,6] in axis 1', () => expand(z(2, 3), [2, 6])],
    ['sum: axis 2 is not one of shape [2,3]', () => sum(z(2, 3), 2)],
    ['max: axis -3 is not one of shape [2,3]', () => max(z(2, 3), -3)],
    [
      'layerNorm: the last axis of [2,6] is not a multiple of four',
      () => layerNorm(z(2, 6), z(6), z(6), 1e-6),
    ],
    [
      'layerNorm: weight [4] and bias [8] do not fit the last axis of [2,8]',
      () => layerNorm(z(2, 8), z(4), z(8), 1e-6),
    ],
    [
      'attention: q [2,3,8] and k [2,3,4] differ in axis 2',
      () => attention(z(2, 3, 8), z(2, 3, 4), z(2, 3, 4), 1),
    ],
    [
      'attention: axis 2 of q [2,3,8] is not 4 heads of a multiple of four',
      () => attention(z(2, 3, 8), z(2, 3, 8), z(2, 3, 8), 4),
    ],
    [
      'crossEntropy: [3] does not fit the rows, axis 0, of logits [2,5]',
      () => crossEntropy(z(2, 5), u(3), z(2)),
    ],
    ['crossEntropy: logits [2,5,1] must be [rows, classes]', () => crossEntropy(z(2, 5, 1), u(2), z(2))],
    ['gatherRows: rows of [5,6] are not a whole number of four elements', () => gatherRows(z(5, 6), u(2))],
    ['tensor: 3 values for shape [2,2]', () => tensor(device, [1, 2, 3], [2, 2])],
    ['write: 3 values for a tensor of shape [2,2]', () => z(2, 2).write(new Float32Array(3))],
  ])('%s', (message, attempt) => {
    const before = device.memory().liveBytes;
    expect(() => scope(attempt)).toThrow(ShapeError);
    expect(() => scope(attempt)).toThrow(new ShapeError(message));
    expect(device.memory().liveBytes).toBe(before);
  });

  test.each<[string, () => unknown]>([
    ['add: input 1 holds u32, not f32 or f16; the shapes are [2], [2]', () => add(z(2), u(2))],
    [
      'matmul: input 0 holds u32, not f32 or f16; the shapes are [2,2], [2,2]',
      () => matmul(u(2, 2), z(2, 2)),
    ],
    [
      'crossEntropy: input 1 holds f32, not u32; the shapes are [2,3], [2], [2]',
      () => crossEntropy(z(2, 3), z(2), z(2)),
    ],
    ['gatherRows: input 1 holds f32, not u32; the shapes are [2,4], [2]', () => gatherRows(z(2, 4), z(2))],
    ['write: the tensor holds f32, the data is a Uint32Array', () => z(2).write(new Uint32Array(2))],
  ])('%s', (message, attempt) => {
    expect(() => scope(attempt)).toThrow(new ShapeError(message));
  });

  test('reading a u32 tensor as f32, or many values as one item', async () => {
    const [labels, x] = [tensor(device, Uint32Array.of(1, 2 ** 32 - 1)), tensor(device, [1, 2])];
    await expect(labels.read()).rejects.toThrow('read: the tensor holds u32; use readUint32');
    expect([...(await labels.readUint32())]).toEqual([1, 2 ** 32 - 1]);
    await expect(x.item()).rejects.toThrow('item: the tensor has shape [2], not one element');
    labels.dispose();
    x.dispose();
  });

  test('a constant cannot be written', () => {
    const x = tensor(device, [1, 2], [2], { constant: true });
    expect(() => x.write(Float32Array.of(3, 4))).toThrow('write: the tensor is constant');
    const y = zeros(device, [2], { constant: true });
    expect(() => y.write(Float32Array.of(3, 4))).toThrow('write: the tensor is constant');
    expect(() => affine(x, 1).dispose()).not.toThrow();
    x.dispose();
    y.dispose();
  });
});
