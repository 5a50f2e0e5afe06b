import { NUMBERS } from '../data-type.ts';
import { ShapeError } from '../errors.ts';
import { assertSameShape, gridOf, operation } from '../operation.ts';
import { empty, type Shape, sizeOf, type Tensor } from '../tensor.ts';
import { divide } from './arithmetic.ts';
import { negate } from './elementwise.ts';
import { sum } from './reduce.ts';

function rowsOf(shape: Shape): { rows: number; width: number } {
  return { rows: shape[0]!, width: sizeOf(shape.slice(1)) };
}

const applySquaredError = operation<void>({
  name: 'meanSquaredError',
  dtypes: [NUMBERS, NUMBERS],
  result: 'f32',
  summary: 'weighted mean over rows of the mean of (x - target)^2',
  shape: ([x, target, weights]) => {
    assertSameShape('meanSquaredError', x!, target!);
    if (x!.length === 0 || weights!.join() !== `${x![0]}`)
      throw new ShapeError(`meanSquaredError: weights [${weights}] do not fit axis 0 of [${x}]`);
    return [1];
  },
  forward: ({ inputs: [x, target, weights], output }) => {
    const { rows, width } = rowsOf(x!.shape);
    const losses = empty(x!.device, [rows]);
    x!.device.dispatch('loss/squared_error', {
      bindings: [x!, target!, weights!, losses].map((each) => each.storage),
      params: Uint32Array.of(rows, width, 0, 0),
      writes: [3],
      workgroups: gridOf(rows, 8),
    });
    const totalWeight = sum(weights!.detach(), 0, true);
    const mean = divide(sum(losses, 0, true), totalWeight);
    output.device.run({
      kind: 'copy',
      source: mean.storage,
      sourceOffset: 0,
      target: output.storage,
      targetOffset: 0,
      bytes: 4,
    });
    return [totalWeight];
  },
  gradient: ({ inputs: [x, target, weights], saved: [totalWeight], gradient, wanted }) => {
    const dx = empty(x!.device, x!.shape);
    x!.device.dispatch('loss/squared_error_backward', {
      bindings: [x!, target!, weights!, totalWeight!, gradient, dx].map((each) => each.storage),
      params: Uint32Array.of(x!.size, rowsOf(x!.shape).width, 0, 0),
      writes: [5],
      workgroups: gridOf(x!.size),
    });
    return [dx, wanted[1] ? negate(dx) : null, null];
  },
  reference: ([x, target, weights]) => {
    const { width } = rowsOf(x!.shape);
    const loss = x!.data.reduce(
      (sum, value, i) =>
        sum + (weights!.data[Math.floor(i / width)]! * (value - target!.data[i]!) ** 2) / width,
      0,
    );
    return Float64Array.of(loss / weights!.data.reduce((a, b) => a + b, 0));
  },
  frozen: [2],
  cases: [
    { inputs: [[5, 7], [5, 7], { shape: [5], positive: true }], attributes: undefined },
    { inputs: [[1], [1], { shape: [1], positive: true }], attributes: undefined },
    { inputs: [[3, 2, 9], [3, 2, 9], { shape: [3], positive: true }], attributes: undefined },
  ],
});

/**
 * The mean of (x - target)^2 over each row, and of that over rows, weighted by `weights` (0 leaves a padded row out).
 * @param x [rows, ...] @param target of the shape of x @param weights [rows] @returns shape [1]
 */
export function meanSquaredError(x: Tensor, target: Tensor, weights: Tensor): Tensor {
  return applySquaredError([x, target, weights], undefined);
}
