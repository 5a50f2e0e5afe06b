import { NUMBERS } from '../data-type.ts';
import { ShapeError } from '../errors.ts';
import { operation, type ReferenceArray } from '../operation.ts';
import { launchProduct, type ProductShape } from '../product.ts';
import type { Shape, Tensor } from '../tensor.ts';

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

/** alpha * op(a) op(b) in float64. */
export function productReference(a: ReferenceArray, b: ReferenceArray, options: MatmulOptions): Float64Array {
  const { batch, m, n, k, transposeA, transposeB } = productShape('matmul', a.shape, b.shape, options);
  const alpha = options.alpha ?? 1;
  const [x, y] = [a.data, b.data];
  // How far apart the next elements of a sum lie.
  const [stepX, stepY] = [transposeA ? m : 1, transposeB ? 1 : n];
  const c = new Float64Array(batch * m * n);
  for (let s = 0; s < batch; s++)
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        let dot = 0;
        let atX = s * m * k + (transposeA ? i : i * k);
        let atY = s * k * n + (transposeB ? j * k : j);
        for (let l = 0; l < k; l++, atX += stepX, atY += stepY) dot += x[atX]! * y[atY]!;
        c[(s * m + i) * n + j] = alpha * dot;
      }
  return c;
}

const applyMatmul = operation<MatmulOptions>({
  name: 'matmul',
  summary: 'alpha * op(a) op(b) for matrices and batches of matrices, each plain or transposed',
  dtypes: [NUMBERS, NUMBERS],
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
