import { NUMBERS } from '../data-type.ts';
import { gridOf, operation } from '../operation.ts';
import type { Storage } from '../storage.ts';
import { empty, type Shape, sizeOf, type Tensor } from '../tensor.ts';
import { affine } from './arithmetic.ts';
import { axisOf } from './axes.ts';
import { expand, reshape } from './layout.ts';

const KIND = { sum: 0, max: 1, sumOfSquares: 2 } as const;

/** How many elements one invocation walks before an axis is cut into parts. Part of what fixes the order of a sum. */
const PART = 128;

function split(shape: Shape, axis: number): { outer: number; extent: number; inner: number } {
  return {
    outer: sizeOf(shape.slice(0, axis)),
    extent: shape[axis]!,
    inner: sizeOf(shape.slice(axis + 1)),
  };
}

/** Reduces the middle of [outer, extent, inner] into `output`: in parts, then the parts, until one is left. */
function reduceInto(kind: keyof typeof KIND, x: Tensor, axis: number, output: Storage): void {
  const { device } = x;
  const { outer, inner } = split(x.shape, axis);
  let { extent } = split(x.shape, axis);
  let source = x.storage;
  let step: keyof typeof KIND = kind;
  for (;;) {
    const parts = Math.ceil(extent / PART);
    const target = parts === 1 ? output : empty(device, [outer * parts * inner]).storage;
    device.dispatch('reduce/axis', {
      values: { operation: KIND[step] },
      bindings: [source, target],
      params: Uint32Array.of(outer, extent, inner, PART, 0, 0),
      writes: [1],
      workgroups: gridOf(outer * parts * inner),
    });
    if (parts === 1) return;
    source = target;
    extent = parts;
    if (step === 'sumOfSquares') step = 'sum';
  }
}

const applySum = operation<{ axis: number }>({
  name: 'sum',
  dtypes: [NUMBERS],
  result: 'f32',
  summary: 'sum over one axis, which stays with extent 1',
  shape: ([x], { axis }) => x!.with(axisOf('sum', x!, axis), 1),
  forward: ({ inputs: [x], attributes: { axis }, output }) => reduceInto('sum', x!, axis, output.storage),
  gradient: ({ inputs: [x], gradient }) => [expand(gradient, x!.shape)],
  reference: ([x], { axis }) => {
    const { outer, extent, inner } = split(x!.shape, axis);
    const y = new Float64Array(outer * inner);
    for (let o = 0; o < outer; o++)
      for (let j = 0; j < extent; j++)
        for (let i = 0; i < inner; i++) y[o * inner + i]! += x!.data[(o * extent + j) * inner + i]!;
    return y;
  },
  cases: [
    { inputs: [[3, 5]], attributes: { axis: 1 } },
    { inputs: [[3, 5]], attributes: { axis: 0 } },
    { inputs: [[2, 300, 3]], attributes: { axis: 1 } },
    { inputs: [[1]], attributes: { axis: 0 } },
  ],
});

/** What is made from a tensor that only a gradient needs afterwards. */
function from(between: Tensor, make: () => Tensor): Tensor {
  const made = make();
  if (!made.isTracked) between.dispose();
  return made;
}

/** The sum over one axis, counted from the end where it is negative; it is dropped unless `keepAxis`. f32, also of f16. */
export function sum(x: Tensor, axis: number, keepAxis = false): Tensor {
  const at = axisOf('sum', x.shape, axis);
  const kept = applySum([x], { axis: at });
  return keepAxis ? kept : from(kept, () => reshape(kept, x.shape.toSpliced(at, 1)));
}

/** The sum of all elements, of shape [1]. f32, also of f16. */
export function total(x: Tensor): Tensor {
  x.assertAlive('total');
  const line = reshape(x, [x.size]);
  return from(line, () => sum(line, 0, true));
}

/** The mean over one axis, counted from the end where it is negative; it is dropped unless `keepAxis`. f32, also of f16. */
export function mean(x: Tensor, axis: number, keepAxis = false): Tensor {
  x.assertAlive('mean');
  const at = axisOf('mean', x.shape, axis);
  const whole = sum(x, at, keepAxis);
  return from(whole, () => affine(whole, 1 / x.shape[at]!));
}

/** The largest element along one axis, counted from the end where it is negative; it is dropped. Stops gradients. */
export function max(x: Tensor, axis: number): Tensor {
  const at = axisOf('max', x.shape, axis);
  const kept = applyMax([x], { axis: at });
  return from(kept, () => reshape(kept, x.shape.toSpliced(at, 1)));
}

const applyMax = operation<{ axis: number }>({
  name: 'max',
  dtypes: [NUMBERS],
  summary: 'largest element along one axis, which stays with extent 1; stops gradients',
  shape: ([x], { axis }) => x!.with(axisOf('max', x!, axis), 1),
  forward: ({ inputs: [x], attributes: { axis }, output }) => reduceInto('max', x!, axis, output.storage),
  reference: ([x], { axis }) => {
    const { outer, extent, inner } = split(x!.shape, axis);
    const y = new Float64Array(outer * inner).fill(Number.NEGATIVE_INFINITY);
    for (let o = 0; o < outer; o++)
      for (let j = 0; j < extent; j++)
        for (let i = 0; i < inner; i++)
          y[o * inner + i] = Math.max(y[o * inner + i]!, x!.data[(o * extent + j) * inner + i]!);
    return y;
  },
  cases: [
    { inputs: [[4, 300]], attributes: { axis: 1 } },
    { inputs: [[5, 2]], attributes: { axis: 0 } },
  ],
});

const applySumOfSquares = operation<void>({
  name: 'sumOfSquares',
  dtypes: [NUMBERS],
  result: 'f32',
  summary: 'sum of the squares of all elements; stops gradients',
  shape: () => [1],
  forward: ({ inputs: [x], output }) => reduceInto('sumOfSquares', flat(x!), 0, output.storage),
  reference: ([x]) => Float64Array.of(x!.data.reduce((sum, value) => sum + value * value, 0)),
  cases: [{ inputs: [[700]], attributes: undefined }],
});

function flat(x: Tensor): Tensor {
  return reshape(x, [x.size]);
}

/** The sum of the squares of all elements, of shape [1]. Stops gradients. */
export function sumOfSquares(x: Tensor): Tensor {
  return applySumOfSquares([x], undefined);
}
