import { NUMBERS } from '../data-type.ts';
import { foursOf, gridOf, operation, type ReferenceArray } from '../operation.ts';
import { empty, type Shape, type Tensor } from '../tensor.ts';
import { affine, divide, multiply } from './arithmetic.ts';

const UNARY = {
  negate: 0,
  exp: 1,
  log: 2,
  sqrt: 3,
  tanh: 4,
  relu: 5,
  square: 6,
  gelu: 7,
  sigmoid: 8,
  silu: 9,
  abs: 10,
  geluTanh: 11,
} as const;
const SLOPE = { gelu: 4, relu: 5, tanh: 6, sigmoid: 9, silu: 10, abs: 11, geluTanh: 12 } as const;

function launch(kind: keyof typeof UNARY, x: Tensor, y: Tensor): void {
  x.device.dispatch('elementwise/unary', {
    values: { operation: UNARY[kind] },
    bindings: [x.storage, y.storage],
    writes: [1],
    workgroups: gridOf(foursOf(y)),
  });
}

/** The gradient through an elementwise function whose slope is a kernel of its own. */
export function slope(kind: keyof typeof SLOPE, at: Tensor, gradient: Tensor): Tensor {
  const result = empty(at.device, at.shape);
  at.device.dispatch('elementwise/binary', {
    values: { operation: SLOPE[kind] },
    bindings: [at.storage, gradient.storage, result.storage],
    writes: [2],
    workgroups: gridOf(foursOf(result)),
  });
  return result;
}

/** Declares an elementwise function with its gradient from input, output and the gradient of the output. */
export function define(
  name: keyof typeof UNARY,
  summary: string,
  f: (x: number) => number,
  gradient: (x: Tensor, y: Tensor, g: Tensor) => Tensor,
  positive = false,
): (x: Tensor) => Tensor {
  const input = (shape: Shape) => (positive ? ({ shape, positive } as const) : shape);
  const apply = operation<void>({
    name,
    summary,
    dtypes: [NUMBERS],
    shape: ([x]) => x!,
    forward: ({ inputs: [x], output }) => launch(name, x!, output),
    gradient: ({ inputs: [x], output, gradient: g }) => [gradient(x!, output, g)],
    reference: ([x]: readonly ReferenceArray[]) => x!.data.map(f),
    cases: [
      { inputs: [input([3, 5])], attributes: undefined },
      { inputs: [input([1])], attributes: undefined },
      { inputs: [input([4, 33, 2])], attributes: undefined },
    ],
  });
  return (x) => apply([x], undefined);
}

/** -x. */
export const negate: (x: Tensor) => Tensor = define(
  'negate',
  '-x',
  (x) => -x,
  (_x, _y, g) => affine(g, -1),
);
/** e^x. */
export const exp: (x: Tensor) => Tensor = define('exp', 'e^x', Math.exp, (_x, y, g) => multiply(g, y));
/** The natural logarithm; NaN below 0. */
export const log: (x: Tensor) => Tensor = define(
  'log',
  'natural logarithm',
  Math.log,
  (x, _y, g) => divide(g, x),
  true,
);
/** The square root; NaN below 0. */
export const sqrt: (x: Tensor) => Tensor = define(
  'sqrt',
  'square root',
  Math.sqrt,
  (_x, y, g) => affine(divide(g, y), 0.5),
  true,
);
/** The hyperbolic tangent. */
export const tanh: (x: Tensor) => Tensor = define('tanh', 'hyperbolic tangent', Math.tanh, (_x, y, g) =>
  slope('tanh', y, g),
);
/** max(x, 0), with slope 0 at 0. */
export const relu: (x: Tensor) => Tensor = define(
  'relu',
  'max(x, 0)',
  (x) => Math.max(x, 0),
  (x, _y, g) => slope('relu', x, g),
);
/** x * x. */
export const square: (x: Tensor) => Tensor = define(
  'square',
  'x * x',
  (x) => x * x,
  (x, _y, g) => affine(multiply(g, x), 2),
);

/** x times the normal distribution function of x, with erf, as `transformers` computes "gelu". */
export const gelu: (x: Tensor) => Tensor = define(
  'gelu',
  'x * normal_cdf(x), the exact form with erf',
  geluOf,
  (x, _y, g) => slope('gelu', x, g),
);

/** GELU in float64, for references. */
export function geluOf(x: number): number {
  return 0.5 * x * (1 + erf(x / Math.SQRT2));
}

/** erf by its Taylor series (|x| < 3) or continued fraction: float64 precise where the tests look. */
function erf(x: number): number {
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  if (a < 3) {
    let term = a;
    let sum = a;
    for (let n = 1; Math.abs(term) > 1e-17 * sum; n++) {
      term *= (-a * a) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / ((a + fraction) * Math.sqrt(Math.PI)));
}
