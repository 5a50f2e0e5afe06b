import { NUMBERS } from '../data-type.ts';
import { ShapeError } from '../errors.ts';
import { gridOf, operation, type ReferenceArray } from '../operation.ts';
import { empty, type Shape, sizeOf, type Tensor } from '../tensor.ts';

/** How many candidates one invocation walks. */
const PART = 1024;
const MOST = 64;

function rowsOf(shape: Shape): { rows: number; width: number } {
  return { rows: sizeOf(shape.slice(0, -1)), width: shape.at(-1)! };
}

/** Writes the positions of the `count` largest of each row into `output`. */
function launch(x: Tensor, count: number, output: Tensor): void {
  const { device } = x;
  const { rows, width } = rowsOf(x.shape);
  let candidates = width;
  let picked = x;
  for (;;) {
    const parts = Math.ceil(candidates / PART);
    const left = (parts - 1) * count + Math.min(count, candidates - (parts - 1) * PART);
    const target = parts === 1 ? output : empty(device, [rows, left], 'u32');
    device.dispatch('reduce/top', {
      values: { TOP: count, FIRST: picked === x },
      bindings: [x.storage, picked.storage, target.storage],
      params: Uint32Array.of(rows, width, candidates, PART),
      writes: [2],
      workgroups: gridOf(rows * parts, 8),
    });
    if (parts === 1) return;
    picked = target;
    candidates = left;
  }
}

function reference(x: ReferenceArray, count: number): Float64Array {
  const { rows, width } = rowsOf(x.shape);
  const result = new Float64Array(rows * count);
  for (let r = 0; r < rows; r++) {
    const row = x.data.subarray(r * width, (r + 1) * width);
    const order = [...row.keys()].sort((a, b) => row[b]! - row[a]! || a - b);
    result.set(order.slice(0, count), r * count);
  }
  return result;
}

const applyArgmax = operation<void>({
  name: 'argmax',
  summary: 'u32 position of the largest element of the last axis, the first of equal ones; stops gradients',
  dtypes: [NUMBERS],
  result: 'u32',
  shape: ([x]) => {
    if (x!.length === 0) throw new ShapeError(`argmax: [${x}] has no axis`);
    return x!.slice(0, -1);
  },
  forward: ({ inputs: [x], output }) => launch(x!, 1, output),
  reference: ([x]) => reference(x!, 1),
  cases: [
    { inputs: [[3, 5]], attributes: undefined },
    { inputs: [[4, 1]], attributes: undefined },
    { inputs: [[2, 2, 2500]], attributes: undefined },
  ],
});

/** Where the largest element of each row of the last axis lies, u32: the first of equal ones, NaN before numbers. The axis is dropped. */
export function argmax(x: Tensor): Tensor {
  return applyArgmax([x], undefined);
}

const applyTop = operation<{ count: number }>({
  name: 'topK',
  summary: 'u32 positions of the k largest elements of the last axis, largest first; stops gradients',
  dtypes: [NUMBERS],
  result: 'u32',
  shape: ([x], { count }) => {
    const width = x!.at(-1) ?? 0;
    if (!Number.isInteger(count) || count < 1 || count > Math.min(MOST, width))
      throw new ShapeError(
        `topK: k = ${count} is not 1 to ${MOST} of the last axis of [${x}], axis ${x!.length - 1}`,
      );
    return x!.with(-1, count);
  },
  forward: ({ inputs: [x], attributes: { count }, output }) => launch(x!, count, output),
  reference: ([x], { count }) => reference(x!, count),
  cases: [
    { inputs: [[3, 9]], attributes: { count: 4 } },
    { inputs: [[2, 1]], attributes: { count: 1 } },
    { inputs: [[3, 1030]], attributes: { count: 7 } },
  ],
});

/**
 * The k largest elements of the last axis, largest first, equal ones in the order they lie in; NaN comes before numbers.
 * k is at most 64. Gradients flow through the values.
 * @returns values of the type of x and indices u32, both [..., k]
 */
export function topK(x: Tensor, count: number): { values: Tensor; indices: Tensor } {
  const indices = applyTop([x], { count });
  return { values: take(x, indices), indices };
}

const applyTake = operation<void>({
  name: 'take',
  summary: 'x[row, index[row, j]] along the last axis; equal indices sum their gradients in the order of j',
  dtypes: [NUMBERS, 'u32'],
  shape: ([x, index]) => {
    const differing = x!.slice(0, -1).findIndex((extent, axis) => extent !== index![axis]);
    if (x!.length === 0 || x!.length !== index!.length)
      throw new ShapeError(`take: [${x}] and index [${index}] differ in rank`);
    if (differing >= 0) throw new ShapeError(`take: [${x}] and index [${index}] differ in axis ${differing}`);
    return index!;
  },
  forward: ({ inputs: [x, index], output }) => {
    output.device.dispatch('layout/take', {
      bindings: [x!.storage, index!.storage, output.storage],
      params: Uint32Array.of(output.size, x!.shape.at(-1)!, index!.shape.at(-1)!, 0),
      writes: [2],
      workgroups: gridOf(output.size),
    });
  },
  gradient: ({ inputs: [x, index], gradient }) => {
    const dx = empty(x!.device, x!.shape);
    dx.device.dispatch('layout/take_backward', {
      bindings: [index!.storage, gradient.storage, dx.storage],
      params: Uint32Array.of(dx.size, x!.shape.at(-1)!, index!.shape.at(-1)!, 0),
      writes: [2],
      workgroups: gridOf(dx.size),
    });
    return [dx, null];
  },
  reference: ([x, index]) => {
    const [width, taken] = [x!.shape.at(-1)!, index!.shape.at(-1)!];
    return index!.data.map((at, i) => x!.data[Math.floor(i / taken) * width + at]!);
  },
  cases: [
    { inputs: [[3, 5], { shape: [3, 7], below: 5 }], attributes: undefined },
    { inputs: [[2, 3, 1], { shape: [2, 3, 2], below: 1 }], attributes: undefined },
  ],
});

/** Elements of each row of the last axis by position. @param x [..., n] @param index u32 [..., k], below n @returns [..., k] */
export function take(x: Tensor, index: Tensor): Tensor {
  return applyTake([x, index], undefined);
}
