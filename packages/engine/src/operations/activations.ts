import { NUMBERS } from '../data-type.ts';
import { assertSameShape, foursOf, gridOf, operation } from '../operation.ts';
import { empty, type Tensor } from '../tensor.ts';
import { define, slope } from './elementwise.ts';

const sigmoidOf = (x: number) => 1 / (1 + Math.exp(-x));

/** 1 / (1 + e^-x). */
export const sigmoid: (x: Tensor) => Tensor = define('sigmoid', '1 / (1 + e^-x)', sigmoidOf, (_x, y, g) =>
  slope('sigmoid', y, g),
);

/** x * sigmoid(x), also called swish. */
export const silu: (x: Tensor) => Tensor = define(
  'silu',
  'x * sigmoid(x)',
  (x) => x * sigmoidOf(x),
  (x, _y, g) => slope('silu', x, g),
);

/** |x|, with slope 0 at 0. */
export const abs: (x: Tensor) => Tensor = define('abs', '|x|', Math.abs, (x, _y, g) => slope('abs', x, g));

/** GELU as approximated by Hendrycks and Gimpel (2016), which `transformers` calls "gelu_new" and "gelu_pytorch_tanh". */
export const geluTanh: (x: Tensor) => Tensor = define(
  'geluTanh',
  '0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))), the approximate form of gelu',
  (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  (x, _y, g) => slope('geluTanh', x, g),
);

const applySwiglu = operation<void>({
  name: 'swiglu',
  summary: 'silu(gate) * up, in one kernel each way',
  dtypes: [NUMBERS, NUMBERS],
  shape: ([gate, up]) => {
    assertSameShape('swiglu', gate!, up!);
    return gate!;
  },
  forward: ({ inputs: [gate, up], output }) => {
    output.device.dispatch('elementwise/swiglu', {
      bindings: [gate!.storage, up!.storage, output.storage],
      writes: [2],
      workgroups: gridOf(foursOf(output)),
    });
  },
  gradient: ({ inputs: [gate, up], gradient }) => {
    const { device, shape } = gradient;
    const dGate = empty(device, shape);
    const dUp = empty(device, shape);
    device.dispatch('elementwise/swiglu_backward', {
      bindings: [gate!, up!, gradient, dGate, dUp].map((each) => each.storage),
      writes: [3, 4],
      workgroups: gridOf(foursOf(gradient)),
    });
    return [dGate, dUp];
  },
  reference: ([gate, up]) => gate!.data.map((x, i) => x * sigmoidOf(x) * up!.data[i]!),
  cases: [
    {
      inputs: [
        [3, 5],
        [3, 5],
      ],
      attributes: undefined,
    },
    { inputs: [[1], [1]], attributes: undefined },
    {
      inputs: [
        [2, 33, 4],
        [2, 33, 4],
      ],
      attributes: undefined,
    },
  ],
});

/** silu(gate) * up (Shazeer 2020), for operands of one shape. */
export function swiglu(gate: Tensor, up: Tensor): Tensor {
  return applySwiglu([gate, up], undefined);
}
