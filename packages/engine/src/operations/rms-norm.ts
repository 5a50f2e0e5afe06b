import { NUMBERS } from '../data-type.ts';
import { ShapeError } from '../errors.ts';
import { gridOf, operation } from '../operation.ts';
import { empty, type Tensor } from '../tensor.ts';
import { multiply } from './arithmetic.ts';
import { fill, reshape } from './layout.ts';
import { checkEpsilon, launchByWidth, ROWS_PER_GROUP, rowParams, rowsOf } from './norm.ts';
import { sum } from './reduce.ts';

const applyRmsNorm = operation<{ epsilon: number }>({
  name: 'rmsNorm',
  dtypes: [NUMBERS],
  summary: 'x / sqrt(mean(x^2) + epsilon) * weight over the last axis',
  shape: ([x, weight], { epsilon }) => {
    checkEpsilon('rmsNorm', epsilon);
    const width = x!.at(-1);
    if (width === undefined || width % 4 !== 0)
      throw new ShapeError(`rmsNorm: the last axis of [${x}] is not a multiple of four`);
    if (weight!.join() !== `${width}`)
      throw new ShapeError(`rmsNorm: weight [${weight}] does not fit the last axis of [${x}]`);
    return x!;
  },
  forward: ({ inputs: [x, weight], attributes: { epsilon }, output }) => {
    launchByWidth('norm/rms_norm', x!, {
      bindings: [x!.storage, weight!.storage, output.storage],
      params: rowParams(x!.shape, epsilon),
      writes: [2],
      workgroups: gridOf(rowsOf(x!.shape).rows, ROWS_PER_GROUP),
    });
  },
  gradient: ({ inputs: [x, weight], attributes: { epsilon }, gradient, wanted }) => {
    const { rows, width } = rowsOf(x!.shape);
    const dx = () => {
      const result = empty(x!.device, x!.shape);
      launchByWidth('norm/rms_norm_backward', x!, {
        bindings: [x!.storage, weight!.storage, gradient.storage, result.storage],
        params: rowParams(x!.shape, epsilon),
        writes: [3],
        workgroups: gridOf(rows, ROWS_PER_GROUP),
      });
      return result;
    };
    const dWeight = () => {
      const normal = rmsNorm(x!, fill(x!.device, [width], 1), epsilon);
      return sum(reshape(multiply(gradient, normal), [rows, width]), 0);
    };
    return [wanted[0] ? dx() : null, wanted[1] ? dWeight() : null];
  },
  reference: ([x, weight], { epsilon }) => {
    const { rows, width } = rowsOf(x!.shape);
    const y = new Float64Array(rows * width);
    for (let r = 0; r < rows; r++) {
      const row = x!.data.subarray(r * width, (r + 1) * width);
      const scale = 1 / Math.sqrt(row.reduce((a, b) => a + b * b, 0) / width + epsilon);
      row.forEach((value, i) => {
        y[r * width + i] = value * scale * weight!.data[i]!;
      });
    }
    return y;
  },
  cases: [
    { inputs: [[5, 8], [8]], attributes: { epsilon: 1e-5 } },
    { inputs: [[2, 17, 32], [32]], attributes: { epsilon: 1e-6 } },
    { inputs: [[3, 260], [260]], attributes: { epsilon: 1e-5 } },
    { inputs: [[1, 4], [4]], attributes: { epsilon: 0.5 } },
  ],
});

/** Root-mean-square normalisation (Zhang and Sennrich 2019) over the last axis, which holds a multiple of four elements. */
export function rmsNorm(x: Tensor, weight: Tensor, epsilon: number): Tensor {
  return applyRmsNorm([x, weight], { epsilon });
}
