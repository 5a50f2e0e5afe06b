import { ShapeError } from '../errors.ts';
import { operation, type ReferenceArray } from '../operation.ts';
import { launchProduct, type ProductShape } from '../product.ts';
import { empty, type Shape, sizeOf, type Tensor } from '../tensor.ts';
import { add } from './arithmetic.ts';
import { reshape } from './layout.ts';
import { sum } from './reduce.ts';

/** Which operands are stored transposed, and a factor on the product. */
export interface MatmulOptions {
  transposeA?: boolean;
  transposeB?: boolean;
  alpha?: number;
}

function productShape(name: string, a: Shape, b: Shape, options: MatmulOptions): ProductShape {
  const { transposeA = false, transposeB = false } = options;
  if (a.length < 2 || a.length > 3 || a.length !== b.length)
    throw new ShapeError(`${name}: [${a}] and [${b}] must both be matrices, or both be batches of matrices`);
  const batch = a.length === 3 ? a[0]! : 1;
  if (a.length === 3 && b[0] !== batch) throw new ShapeError(`${name}: [${a}] and [${b}] differ in axis 0`);
  const [rowsA, columnsA] = a.slice(-2) as [number, number];
  const [rowsB, columnsB] = b.slice(-2) as [number, number];
  const [m, k] = transposeA ? [columnsA, rowsA] : [rowsA, columnsA];
  const [n, depth] = transposeB ? [rowsB, columnsB] : [columnsB, rowsB];
  if (k !== depth) throw new ShapeError(`${name}: the inner axes of [${a}] and [${b}] are ${k} and ${depth}`);
  return { batch, m, n, k, transposeA, transposeB };
}

/** op(a) op(b) of plain matrices in float64. */
function productReference(a: ReferenceArray, b: ReferenceArray, options: MatmulOptions): Float64Array {
  const { batch, m, n, k, transposeA, transposeB } = productShape('matmul', a.shape, b.shape, options);
  const c = new Float64Array(batch * m * n);
  for (let s = 0; s < batch; s++)
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        let dot = 0;
        for (let l = 0; l < k; l++) {
          const left = a.data[s * m * k + (transposeA ? l * m + i : i * k + l)]!;
          const right = b.data[s * k * n + (transposeB ? j * k + l : l * n + j)]!;
          dot += left * right;
        }
        c[(s * m + i) * n + j] = (options.alpha ?? 1) * dot;
      }
  return c;
}

const applyMatmul = operation<MatmulOptions>({
  name: 'matmul',
  summary: 'alpha * op(a) op(b) for matrices and batches of matrices, each plain or transposed',
  shape: ([a, b], options) => {
    const { batch, m, n } = productShape('matmul', a!, b!, options);
    return a!.length === 3 ? [batch, m, n] : [m, n];
  },
  forward: ({ inputs: [a, b], attributes, output }) => {
    launchProduct(productShape('matmul', a!.shape, b!.shape, attributes), a!, b!, output, attributes.alpha);
  },
  gradient: ({ inputs: [a, b], attributes, gradient: g, wanted }) => {
    const { transposeA = false, transposeB = false, alpha } = attributes;
    const da = () =>
      transposeA
        ? matmul(b!, g, { transposeA: transposeB, transposeB: true, alpha })
        : matmul(g, b!, { transposeB: !transposeB, alpha });
    const db = () =>
      transposeB
        ? matmul(g, a!, { transposeA: true, transposeB: transposeA, alpha })
        : matmul(a!, g, { transposeA: !transposeA, alpha });
    return [wanted[0] ? da() : null, wanted[1] ? db() : null];
  },
  reference: ([a, b], options) => productReference(a!, b!, options),
  cases: [
    {
      inputs: [
        [3, 5],
        [5, 7],
      ],
      attributes: {},
    },
    {
      inputs: [
        [17, 33],
        [40, 33],
      ],
      attributes: { transposeB: true },
    },
    {
      inputs: [
        [20, 9],
        [20, 16],
      ],
      attributes: { transposeA: true, alpha: -0.5 },
    },
    {
      inputs: [
        [6, 4],
        [3, 6],
      ],
      attributes: { transposeA: true, transposeB: true },
    },
    {
      inputs: [
        [2, 3, 4],
        [2, 4, 5],
      ],
      attributes: {},
    },
    {
      inputs: [
        [3, 1, 8],
        [3, 2, 8],
      ],
      attributes: { transposeB: true },
    },
  ],
});

/**
 * alpha * op(a) op(b), where op transposes as asked.
 * @param a [m, k] or [batch, m, k], or with its last two axes swapped @param b [k, n] or [batch, k, n], likewise
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  return applyMatmul([a, b], options);
}

/** `x` as a matrix: all but the last axis are rows. */
function asRows(x: Tensor): Tensor {
  return x.shape.length === 2 ? x : reshape(x, [sizeOf(x.shape.slice(0, -1)), x.shape.at(-1)!]);
}

const applyLinear = operation<void>({
  name: 'linear',
  summary: 'x weight^T + bias',
  shape: ([x, weight, bias]) => {
    if (weight!.length !== 2 || x!.at(-1) !== weight![1])
      throw new ShapeError(`linear: the last axis of [${x}] is not the last of weight [${weight}]`);
    if (bias!.join() !== `${weight![0]}`)
      throw new ShapeError(`linear: bias [${bias}] does not fit weight [${weight}]`);
    return [...x!.slice(0, -1), weight![0]!];
  },
  forward: ({ inputs: [x, weight, bias], output }) => {
    const [n, k] = weight!.shape as [number, number];
    const m = sizeOf(x!.shape) / k;
    const shape = { batch: 1, m, n, k, transposeA: false, transposeB: true };
    launchProduct(shape, x!, weight!, output, 1, { bias: bias! });
  },
  gradient: ({ inputs: [x, weight], gradient, wanted }) => {
    const g = asRows(gradient);
    return [
      wanted[0] ? reshape(matmul(g, weight!), x!.shape) : null,
      wanted[1] ? matmul(g, asRows(x!), { transposeA: true }) : null,
      wanted[2] ? sum(g, 0) : null,
    ];
  },
  reference: ([x, weight, bias]) => {
    const [n, k] = weight!.shape as [number, number];
    const rows = { data: x!.data, shape: [x!.data.length / k, k] };
    const y = productReference(rows, weight!, { transposeB: true });
    return y.map((value, i) => value + bias!.data[i % n]!);
  },
  cases: [
    { inputs: [[3, 5], [7, 5], [7]], attributes: undefined },
    { inputs: [[2, 17, 64], [10, 64], [10]], attributes: undefined },
  ],
});

/** x weight^T + bias. @param x [..., k] @param weight [n, k] @param bias [n] @returns [..., n] */
export function linear(x: Tensor, weight: Tensor, bias: Tensor): Tensor {
  return applyLinear([x, weight, bias], undefined);
}

const applyLoraLinear = operation<{ scale: number }>({
  name: 'loraLinear',
  summary: 'x weight^T + bias + scale * (adapted down^T) up^T; no gradient for weight and bias',
  shape: ([x, weight, bias, adapted, down, up]) => {
    const [n, k] = weight as readonly [number, number];
    if (x!.at(-1) !== k || adapted!.join() !== x!.join())
      throw new ShapeError(`loraLinear: x [${x}] and [${adapted}] do not fit weight [${weight}]`);
    if (bias!.join() !== `${n}` || down![1] !== k || up![0] !== n || down![0] !== up![1])
      throw new ShapeError(
        `loraLinear: bias [${bias}], A [${down}] and B [${up}] do not fit weight [${weight}]`,
      );
    return [...x!.slice(0, -1), n];
  },
  forward: ({ inputs: [x, weight, bias, adapted, down, up], attributes: { scale }, output }) => {
    const [n, k] = weight!.shape as [number, number];
    const rank = down!.shape[0]!;
    const m = sizeOf(x!.shape) / k;
    const plain = { batch: 1, m, transposeA: false, transposeB: true };
    launchProduct({ ...plain, n, k }, x!, weight!, output, 1, { bias: bias! });
    const hidden = empty(x!.device, [m, rank]);
    launchProduct({ ...plain, n: rank, k }, adapted!, down!, hidden);
    launchProduct({ ...plain, n, k: rank }, hidden, up!, output, scale, { accumulate: true });
    return [hidden];
  },
  gradient: ({ inputs, attributes: { scale }, saved: [hidden], gradient, wanted }) => {
    const [x, weight, , adapted, down, up] = inputs as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor];
    const g = asRows(gradient);
    const dHidden = matmul(g, up, { alpha: scale });
    const dx = wanted[0] ? matmul(g, weight) : null;
    // Without dropout both paths start from one tensor: their gradients are summed in the product.
    const shared = dx !== null && adapted === x;
    if (shared) {
      const [m, rank] = dHidden.shape as [number, number];
      const shape = { batch: 1, m, n: x.shape.at(-1)!, k: rank, transposeA: false, transposeB: false };
      launchProduct(shape, dHidden, down, dx, 1, { accumulate: true });
    }
    return [
      dx && reshape(dx, x.shape),
      null,
      null,
      wanted[3] && !shared ? reshape(matmul(dHidden, down), adapted.shape) : null,
      wanted[4] ? matmul(dHidden, asRows(adapted), { transposeA: true }) : null,
      wanted[5] ? matmul(g, hidden!, { transposeA: true, alpha: scale }) : null,
    ];
  },
  reference: ([x, weight, bias, adapted, down, up], { scale }) => {
    const [n, k] = weight!.shape as [number, number];
    const rows = x!.data.length / k;
    const base = productReference({ data: x!.data, shape: [rows, k] }, weight!, { transposeB: true });
    const hidden = productReference({ data: adapted!.data, shape: [rows, k] }, down!, { transposeB: true });
    const change = productReference({ data: hidden, shape: [rows, down!.shape[0]!] }, up!, {
      transposeB: true,
    });
    return base.map((value, i) => value + bias!.data[i % n]! + scale * change[i]!);
  },
  frozen: [1, 2],
  cases: [
    { inputs: [[9, 8], [6, 8], [6], [9, 8], [4, 8], [6, 4]], attributes: { scale: 0.5 } },
    { inputs: [[2, 17, 64], [64, 64], [64], [2, 17, 64], [16, 64], [64, 16]], attributes: { scale: 4 } },
  ],
});

/**
 * A linear layer with a low-rank change (LoRA, Hu et al. 2021): x weight^T + bias + scale * (adapted A^T) B^T. The base
 * is frozen: weight and bias get no gradient. `adapted` is what the adapter sees of x: x itself, or x after dropout.
 * @param x [..., k] @param weight [n, k] @param bias [n] @param down A, [rank, k] @param up B, [n, rank]
 */
export function loraLinear(
  x: Tensor,
  weight: Tensor,
  bias: Tensor,
  adapter: { down: Tensor; up: Tensor; scale: number; adapted?: Tensor },
): Tensor {
  const { down, up, scale, adapted = x } = adapter;
  return applyLoraLinear([x, weight, bias, adapted, down, up], { scale });
}

/** The base weight with a low-rank change merged in: weight + scale * up down. Stops gradients. */
export function mergeLora(weight: Tensor, adapter: { down: Tensor; up: Tensor; scale: number }): Tensor {
  return add(weight, matmul(adapter.up, adapter.down, { alpha: adapter.scale })).detach();
}
