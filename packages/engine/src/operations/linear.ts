import { NUMBERS, WEIGHT_TYPES } from '../data-type.ts';
import { EngineError, ShapeError } from '../errors.ts';
import { type Activation, activationNumber } from '../matmul-problem.ts';
import { type Apply, foursOf, gridOf, type OperationCase, operation } from '../operation.ts';
import { launchProduct } from '../product.ts';
import { empty, type Tensor } from '../tensor.ts';
import { add } from './arithmetic.ts';
import { geluOf } from './elementwise.ts';
import { reshape } from './layout.ts';
import { productReference } from './matmul.ts';
import { sum } from './reduce.ts';

const ACTIVATIONS: readonly (Activation | undefined)[] = [undefined, 'gelu', 'silu'];

interface LinearAttributes {
  activation?: Activation;
}

/** What a linear layer takes: x, weight, the bias if it has one, and a residual if there is one. */
function named<T>(inputs: readonly T[], biased: boolean): { x: T; weight: T; bias?: T; residual?: T } {
  const [x, weight, ...more] = inputs as [T, T, ...T[]];
  return biased ? { x, weight, bias: more[0], residual: more[1] } : { x, weight, residual: more[0] };
}

function define(
  name: string,
  summary: string,
  biased: boolean,
  cases: readonly OperationCase<LinearAttributes>[],
): Apply<LinearAttributes> {
  return operation<LinearAttributes>({
    name,
    summary,
    dtypes: [NUMBERS, WEIGHT_TYPES, ...(biased ? (['f32'] as const) : []), NUMBERS],
    shape: (shapes, { activation }) => {
      const { x, weight, bias, residual } = named(shapes, biased);
      if (!ACTIVATIONS.includes(activation))
        throw new EngineError(`${name}: activation ${activation} is neither gelu nor silu`);
      if (weight.length !== 2 || x.at(-1) !== weight[1])
        throw new ShapeError(`${name}: the last axis of [${x}] is not the last of weight [${weight}]`);
      if (bias && bias.join() !== `${weight[0]}`)
        throw new ShapeError(`${name}: bias [${bias}] does not fit axis 0 of weight [${weight}]`);
      const shape = [...x.slice(0, -1), weight[0]!];
      const differing = residual ? shape.findIndex((extent, axis) => extent !== residual[axis]) : -1;
      if (residual && (differing >= 0 || residual.length !== shape.length))
        throw new ShapeError(
          `${name}: the result [${shape}] of x [${x}] with weight [${weight}] and residual [${residual}] differ in ${differing >= 0 ? `axis ${differing}` : 'rank'}`,
        );
      return shape;
    },
    // The same kernel with and without a tape, so that a value has the same bits either way: it always writes what was before
    // the activation. The gradient needs that, and computing it again would cost a product.
    forward: ({ inputs, attributes: { activation: kind }, output }) => {
      const { x, weight, bias, residual } = named(inputs, biased);
      const [n, k] = weight.shape as [number, number];
      const shape = { batch: 1, m: x.size / k, n, k, transposeA: false, transposeB: true };
      const before = kind && empty(output.device, output.shape, output.dtype);
      const activation = kind && before && { kind, before };
      launchProduct(shape, x, weight, output, 1, { bias, residual, activation });
      return before ? [before] : [];
    },
    gradient: ({ inputs, attributes: { activation }, saved: [before], gradient: incoming, wanted }) => {
      const { x, weight } = named(inputs, biased);
      const wants = named(wanted, biased);
      const [n, k] = weight.shape as [number, number];
      const m = x.size / k;
      const gradient = activation ? throughActivation(activation, before!, incoming) : incoming;
      const plain = { batch: 1, transposeB: false };
      const dx = wants.x ? empty(x.device, x.shape) : null;
      if (dx) launchProduct({ ...plain, m, n: k, k: n, transposeA: false }, gradient, weight, dx);
      const dWeight = wants.weight ? empty(x.device, weight.shape) : null;
      if (dWeight) launchProduct({ ...plain, m: n, n: k, k: m, transposeA: true }, gradient, x, dWeight);
      const dBias = wants.bias ? sum(reshape(gradient, [m, n]), 0) : null;
      return [dx, dWeight, ...(biased ? [dBias] : []), wants.residual ? gradient : null];
    },
    reference: (inputs, { activation }) => {
      const { x, weight, bias, residual } = named(inputs, biased);
      const [n, k] = weight.shape as [number, number];
      const rows = { data: x.data, shape: [x.data.length / k, k] };
      const y = productReference(rows, weight, { transposeB: true });
      const apply =
        activation === 'gelu' ? geluOf : activation === 'silu' ? siluOf : (value: number) => value;
      return y.map((value, i) => apply(value + (bias?.data[i % n] ?? 0)) + (residual?.data[i] ?? 0));
    },
    cases,
  });
}

const applyLinear = define('linear', 'x weight^T + bias, then GELU or SiLU, or plus a residual', true, [
  { inputs: [[3, 5], [7, 5], [7]], attributes: {} },
  { inputs: [[2, 17, 32], [10, 32], [10]], attributes: {} },
  { inputs: [[2, 17, 32], [12, 32], [12]], attributes: { activation: 'gelu' } },
  { inputs: [[9, 5], [7, 5], [7]], attributes: { activation: 'silu' } },
  { inputs: [[2, 3, 8], [12, 8], [12], [2, 3, 12]], attributes: {} },
  { inputs: [[3, 5], { shape: [7, 5], dtype: 'f16' }, [7]], attributes: {} },
  { inputs: [[2, 9, 10], { shape: [8, 10], dtype: 'int8' }, [8]], attributes: {} },
  { inputs: [[5, 64], { shape: [6, 64], dtype: 'int4x32' }, [6]], attributes: {} },
]);

const applyUnbiased = define('unbiasedLinear', 'linear, for a layer without a bias', false, [
  {
    inputs: [
      [3, 5],
      [7, 5],
    ],
    attributes: {},
  },
  {
    inputs: [
      [9, 5],
      [7, 5],
    ],
    attributes: { activation: 'silu' },
  },
  { inputs: [[2, 3, 8], { shape: [12, 8], dtype: 'int8' }, [2, 3, 12]], attributes: {} },
]);

function throughActivation(activation: Activation, before: Tensor, gradient: Tensor): Tensor {
  const result = empty(before.device, before.shape);
  before.device.dispatch('matmul/activation_backward', {
    values: { ACTIVATION: activationNumber(activation) },
    bindings: [before.storage, gradient.storage, result.storage],
    writes: [2],
    workgroups: gridOf(foursOf(result)),
  });
  return result;
}

const siluOf = (x: number): number => x / (1 + Math.exp(-x));

/** What a linear layer does in the launch of its product. */
export interface LinearOptions {
  /** Applied to the sum of product and bias; GELU is the exact form, as `gelu` computes it. */
  activation?: Activation;
  /** Added at last, of the output's shape. */
  residual?: Tensor;
}

/**
 * activation(x weight^T + bias) + residual. A weight in int8 or int4 gets no gradient.
 * @param x [..., k] @param weight [n, k] @param bias [n], or null for none @returns [..., n]
 */
export function linear(x: Tensor, weight: Tensor, bias: Tensor | null, options: LinearOptions = {}): Tensor {
  const { activation, residual } = options;
  if (activation && residual) return add(linear(x, weight, bias, { activation }), residual);
  const after = residual ? [residual] : [];
  return bias
    ? applyLinear([x, weight, bias, ...after], { activation })
    : applyUnbiased([x, weight, ...after], { activation });
}
