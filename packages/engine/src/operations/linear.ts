import { WEIGHT_TYPES } from '../data-type.ts';
import { ShapeError } from '../errors.ts';
import { operation } from '../operation.ts';
import { launchProduct } from '../product.ts';
import { empty, sizeOf, type Tensor } from '../tensor.ts';
import { reshape } from './layout.ts';
import { productReference } from './matmul.ts';
import { sum } from './reduce.ts';

const applyLinear = operation<void>({
  name: 'linear',
  summary: 'x weight^T + bias',
  dtypes: ['f32', WEIGHT_TYPES],
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
    const [n, k] = weight!.shape as [number, number];
    const m = sizeOf(x!.shape) / k;
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
    return [dx, dWeight, wanted[2] ? sum(reshape(gradient, [m, n]), 0) : null];
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
    { inputs: [[3, 5], { shape: [7, 5], dtype: 'f16' }, [7]], attributes: undefined },
    { inputs: [[2, 9, 10], { shape: [8, 10], dtype: 'int8' }, [8]], attributes: undefined },
    { inputs: [[5, 64], { shape: [6, 64], dtype: 'int4x32' }, [6]], attributes: undefined },
  ],
});

/**
 * x weight^T + bias. A weight of a frozen type gets no gradient.
 * @param x [..., k] @param weight [n, k] @param bias [n] @returns [..., n]
 */
export function linear(x: Tensor, weight: Tensor, bias: Tensor): Tensor {
  return applyLinear([x, weight, bias], undefined);
}
