import { NUMBERS, WEIGHT_TYPES } from '../data-type.ts';
import { EngineError, ShapeError } from '../errors.ts';
import { type Activation, activationNumber } from '../matmul-problem.ts';
import { foursOf, gridOf, operation } from '../operation.ts';
import { launchProduct } from '../product.ts';
import { empty, sizeOf, type Tensor } from '../tensor.ts';
import { add } from './arithmetic.ts';
import { geluOf } from './elementwise.ts';
import { reshape } from './layout.ts';
import { productReference } from './matmul.ts';
import { sum } from './reduce.ts';

const ACTIVATIONS: readonly (Activation | undefined)[] = [undefined, 'gelu', 'silu'];

interface LinearAttributes {
  activation?: Activation;
}

const applyLinear = operation<LinearAttributes>({
  name: 'linear',
  summary: 'x weight^T + bias, then GELU or SiLU, or plus a residual',
  dtypes: [NUMBERS, WEIGHT_TYPES, 'f32', NUMBERS],
  shape: ([x, weight, bias, residual], { activation }) => {
    if (!ACTIVATIONS.includes(activation))
      throw new EngineError(`linear: activation ${activation} is neither gelu nor silu`);
    if (weight!.length !== 2 || x!.at(-1) !== weight![1])
      throw new ShapeError(`linear: the last axis of [${x}] is not the last of weight [${weight}]`);
    if (bias!.join() !== `${weight![0]}`)
      throw new ShapeError(`linear: bias [${bias}] does not fit axis 0 of weight [${weight}]`);
    const shape = [...x!.slice(0, -1), weight![0]!];
    const differing = residual ? shape.findIndex((extent, axis) => extent !== residual[axis]) : -1;
    if (residual && (differing >= 0 || residual.length !== shape.length))
      throw new ShapeError(
        `linear: the result [${shape}] of x [${x}] and residual [${residual}] differ in ${differing >= 0 ? `axis ${differing}` : 'rank'}`,
      );
    return shape;
  },
  // The same kernel with and without a tape, so that a value has the same bits either way: it always writes what was before
  // the activation. The gradient needs that, and computing it again would cost a product.
  forward: ({ inputs: [x, weight, bias, residual], attributes: { activation: kind }, output }) => {
    const [n, k] = weight!.shape as [number, number];
    const m = sizeOf(x!.shape) / k;
    const shape = { batch: 1, m, n, k, transposeA: false, transposeB: true };
    const before = kind && empty(output.device, output.shape, output.dtype);
    const activation = kind && before && { kind, before };
    launchProduct(shape, x!, weight!, output, 1, { bias: bias!, residual, activation });
    return before ? [before] : [];
  },
  gradient: ({
    inputs: [x, weight],
    attributes: { activation },
    saved: [before],
    gradient: incoming,
    wanted,
  }) => {
    const [n, k] = weight!.shape as [number, number];
    const m = sizeOf(x!.shape) / k;
    const gradient = activation ? throughActivation(activation, before!, incoming) : incoming;
    const dx = wanted[0] ? empty(x!.device, x!.shape) : null;
    if (dx)
      launchProduct({ batch: 1, m, n: k, k: n, transposeA: false, transposeB: false }, gradient, weight!, dx);
    const dWeight = wanted[1] ? empty(x!.device, weight!.shape) : null;
    if (dWeight)
      launchProduct(
        { batch: 1, m: n, n: k, k: m, transposeA: true, transposeB: false },
        gradient,
        x!,
        dWeight,
      );
    return [dx, dWeight, wanted[2] ? sum(reshape(gradient, [m, n]), 0) : null, wanted[3] ? gradient : null];
  },
  reference: ([x, weight, bias, residual], { activation }) => {
    const [n, k] = weight!.shape as [number, number];
    const rows = { data: x!.data, shape: [x!.data.length / k, k] };
    const y = productReference(rows, weight!, { transposeB: true });
    const apply = activation === 'gelu' ? geluOf : activation === 'silu' ? siluOf : (value: number) => value;
    return y.map((value, i) => apply(value + bias!.data[i % n]! + (residual?.data[i] ?? 0)));
  },
  cases: [
    { inputs: [[3, 5], [7, 5], [7]], attributes: {} },
    { inputs: [[2, 17, 32], [10, 32], [10]], attributes: {} },
    { inputs: [[2, 17, 32], [12, 32], [12]], attributes: { activation: 'gelu' } },
    { inputs: [[9, 5], [7, 5], [7]], attributes: { activation: 'silu' } },
    { inputs: [[2, 3, 8], [12, 8], [12], [2, 3, 12]], attributes: {} },
    { inputs: [[3, 5], { shape: [7, 5], dtype: 'f16' }, [7]], attributes: {} },
    { inputs: [[2, 9, 10], { shape: [8, 10], dtype: 'int8' }, [8]], attributes: {} },
    { inputs: [[5, 64], { shape: [6, 64], dtype: 'int4x32' }, [6]], attributes: {} },
  ],
});

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
 * @param x [..., k] @param weight [n, k] @param bias [n] @returns [..., n]
 */
export function linear(x: Tensor, weight: Tensor, bias: Tensor, options: LinearOptions = {}): Tensor {
  const { activation, residual } = options;
  if (activation && residual) return add(linear(x, weight, bias, { activation }), residual);
  return applyLinear(residual ? [x, weight, bias, residual] : [x, weight, bias], { activation });
}
