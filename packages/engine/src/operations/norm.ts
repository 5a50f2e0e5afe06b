import { NUMBERS } from '../data-type.ts';
import type { Device } from '../device.ts';
import { EngineError, ShapeError } from '../errors.ts';
import { gridOf, operation } from '../operation.ts';
import { empty, type Shape, sizeOf, type Tensor } from '../tensor.ts';
import { multiply } from './arithmetic.ts';
import { fill, reshape } from './layout.ts';
import { sum } from './reduce.ts';

/** Rows a workgroup of the row kernels takes. */
export const ROWS_PER_GROUP = 8;

/** All axes but the last are rows. */
export function rowsOf(shape: Shape): { rows: number; width: number } {
  return { rows: sizeOf(shape.slice(0, -1)), width: shape.at(-1)! };
}

/** The parameter block of the row kernels. */
export function rowParams(shape: Shape, epsilon = 0): Uint32Array<ArrayBuffer> {
  const { rows, width } = rowsOf(shape);
  return Uint32Array.of(rows, width, new Uint32Array(new Float32Array([epsilon]).buffer)[0]!, 0);
}

/** Fails for what would make every row NaN. */
export function checkEpsilon(name: string, epsilon: number): void {
  if (!(epsilon >= 0)) throw new EngineError(`${name}: epsilon ${epsilon} is not a number of 0 or more`);
}

/** Rows up to this width are kept in registers. */
const WIDEST_IN_REGISTERS = 128;

/** Launches a kernel of which there is one for rows that fit into registers, and one for any width. */
export function launchByWidth(kernel: string, x: Tensor, call: Parameters<Device['dispatch']>[1]): void {
  const { width } = rowsOf(x.shape);
  if (width > WIDEST_IN_REGISTERS) x.device.dispatch(kernel, call);
  else x.device.dispatch(`${kernel}_narrow`, { ...call, values: { width4: width / 4 }, unroll: true });
}

const applyLayerNorm = operation<{ epsilon: number }>({
  name: 'layerNorm',
  dtypes: [NUMBERS],
  summary: '(x - mean) / sqrt(variance + epsilon) * weight + bias over the last axis',
  shape: ([x, weight, bias], { epsilon }) => {
    checkEpsilon('layerNorm', epsilon);
    const width = x!.at(-1);
    if (width === undefined || width % 4 !== 0)
      throw new ShapeError(`layerNorm: the last axis of [${x}] is not a multiple of four`);
    if (weight!.join() !== `${width}` || bias!.join() !== `${width}`)
      throw new ShapeError(
        `layerNorm: weight [${weight}] and bias [${bias}] do not fit the last axis of [${x}]`,
      );
    return x!;
  },
  forward: ({ inputs: [x, weight, bias], attributes: { epsilon }, output }) => {
    launchByWidth('norm/layer_norm', x!, {
      bindings: [x!.storage, weight!.storage, bias!.storage, output.storage],
      params: rowParams(x!.shape, epsilon),
      writes: [3],
      workgroups: gridOf(rowsOf(x!.shape).rows, ROWS_PER_GROUP),
    });
  },
  gradient: ({ inputs: [x, weight], attributes: { epsilon }, gradient, wanted }) => {
    const { rows, width } = rowsOf(x!.shape);
    const flat = (t: Tensor) => reshape(t, [rows, width]);
    const dx = wanted[0] ? layerNormBackward(x!, weight!, gradient, epsilon) : null;
    if (!wanted[1] && !wanted[2]) return [dx, null, null];
    const device = x!.device;
    const normal = layerNorm(x!, fill(device, [width], 1), fill(device, [width], 0), epsilon);
    return [
      dx,
      wanted[1] ? sum(flat(multiply(gradient, normal)), 0) : null,
      wanted[2] ? sum(flat(gradient), 0) : null,
    ];
  },
  reference: ([x, weight, bias], { epsilon }) => {
    const { rows, width } = rowsOf(x!.shape);
    const y = new Float64Array(rows * width);
    for (let r = 0; r < rows; r++) {
      const row = x!.data.subarray(r * width, (r + 1) * width);
      const mean = row.reduce((a, b) => a + b, 0) / width;
      const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / width;
      row.forEach((value, i) => {
        y[r * width + i] =
          ((value - mean) / Math.sqrt(variance + epsilon)) * weight!.data[i]! + bias!.data[i]!;
      });
    }
    return y;
  },
  cases: [
    { inputs: [[5, 8], [8], [8]], attributes: { epsilon: 1e-5 } },
    { inputs: [[2, 17, 32], [32], [32]], attributes: { epsilon: 1e-12 } },
    { inputs: [[3, 260], [260], [260]], attributes: { epsilon: 1e-6 } },
  ],
});

/** Layer normalisation (Ba et al. 2016) over the last axis, which holds a multiple of four elements. */
export function layerNorm(x: Tensor, weight: Tensor, bias: Tensor, epsilon: number): Tensor {
  return applyLayerNorm([x, weight, bias], { epsilon });
}

function layerNormBackward(x: Tensor, weight: Tensor, gradient: Tensor, epsilon: number): Tensor {
  const dx = empty(x.device, x.shape);
  launchByWidth('norm/layer_norm_backward', x, {
    bindings: [x.storage, weight.storage, gradient.storage, dx.storage],
    params: rowParams(x.shape, epsilon),
    writes: [3],
    workgroups: gridOf(rowsOf(x.shape).rows, ROWS_PER_GROUP),
  });
  return dx;
}

/** The kernel for rows of whole vec4, or for any. */
function softmaxKernel(name: string, shape: Shape): string {
  return shape.at(-1)! % 4 === 0 ? `${name}_wide` : name;
}

const applySoftmax = operation<void>({
  name: 'softmax',
  dtypes: [NUMBERS],
  summary: 'exp(x) / sum exp(x) over the last axis',
  shape: ([x]) => {
    if (x!.length === 0) throw new ShapeError(`softmax: [${x}] has no axis`);
    return x!;
  },
  forward: ({ inputs: [x], output }) => {
    output.device.dispatch(softmaxKernel('norm/softmax', x!.shape), {
      bindings: [x!.storage, output.storage],
      params: rowParams(x!.shape),
      writes: [1],
      workgroups: gridOf(rowsOf(x!.shape).rows, ROWS_PER_GROUP),
    });
  },
  gradient: ({ output: y, gradient }) => {
    const dx = empty(y.device, y.shape);
    y.device.dispatch(softmaxKernel('norm/softmax_backward', y.shape), {
      bindings: [y.storage, gradient.storage, dx.storage],
      params: rowParams(y.shape),
      writes: [2],
      workgroups: gridOf(rowsOf(y.shape).rows, ROWS_PER_GROUP),
    });
    return [dx];
  },
  reference: ([x]) => {
    const { rows, width } = rowsOf(x!.shape);
    const y = new Float64Array(rows * width);
    for (let r = 0; r < rows; r++) {
      const row = x!.data.subarray(r * width, (r + 1) * width);
      const largest = Math.max(...row);
      const total = row.reduce((a, b) => a + Math.exp(b - largest), 0);
      row.forEach((value, i) => {
        y[r * width + i] = Math.exp(value - largest) / total;
      });
    }
    return y;
  },
  cases: [
    { inputs: [[4, 7]], attributes: undefined },
    { inputs: [[1, 1]], attributes: undefined },
    { inputs: [[3, 2, 130]], attributes: undefined },
    { inputs: [[9, 132]], attributes: undefined },
  ],
});

/** Softmax over the last axis. */
export function softmax(x: Tensor): Tensor {
  return applySoftmax([x], undefined);
}
