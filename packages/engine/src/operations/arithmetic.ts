import { NUMBERS } from '../data-type.ts';
import { ShapeError } from '../errors.ts';
import { foursOf, gridOf, operation, type ReferenceArray } from '../operation.ts';
import type { Shape, Tensor } from '../tensor.ts';
import { axesWords, checkWalk, MOST_AXES, mergedAxes, wideWalk } from './axes.ts';
import { expandReference, reshape, stridesOf } from './layout.ts';
import { sum } from './reduce.ts';

const BINARY = { add: 0, subtract: 1, multiply: 2, divide: 3, maximum: 7, minimum: 8 } as const;

/** The shape two operands broadcast to, by NumPy's rule. @throws ShapeError naming the axis */
export function broadcastShape(name: string, a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const left = a[axis - rank + a.length] ?? 1;
    const right = b[axis - rank + b.length] ?? 1;
    if (left !== right && left !== 1 && right !== 1)
      throw new ShapeError(`${name}: shapes [${a}] and [${b}] do not broadcast in axis ${axis}`);
    return Math.max(left, right);
  });
}

/** Sums a gradient over the axes along which its operand was repeated. */
export function reduceTo(gradient: Tensor, shape: Shape): Tensor {
  let result = gradient;
  const extra = gradient.shape.length - shape.length;
  gradient.shape.forEach((extent, axis) => {
    const own = axis < extra ? 1 : shape[axis - extra]!;
    if (own === 1 && extent !== 1) result = sum(result, axis, true);
  });
  return result.shape.length === shape.length ? result : reshape(result, shape);
}

/** Strides of an operand within the broadcast shape: 0 where it is repeated. */
export function stridesWithin(shape: Shape, target: Shape): number[] {
  let stride = 1;
  const strides = new Array<number>(target.length).fill(0);
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1) strides[target.length - shape.length + axis] = stride;
    stride *= shape[axis]!;
  }
  return strides;
}

function launch(kind: keyof typeof BINARY, x: Tensor, y: Tensor, output: Tensor): void {
  const values = { operation: BINARY[kind] };
  const bindings = [x.storage, y.storage, output.storage];
  const same = (shape: Shape) => shape.join() === output.shape.join();
  if (same(x.shape) && same(y.shape)) {
    const workgroups = gridOf(foursOf(output));
    output.device.dispatch('elementwise/binary', { values, bindings, writes: [2], workgroups });
    return;
  }
  const strides = [stridesWithin(x.shape, output.shape), stridesWithin(y.shape, output.shape)];
  const walk = mergedAxes(output.shape, strides);
  // What is computed in parts goes element by element: parts begin anywhere.
  const wide = output.device.bindsWhole(bindings) ? wideWalk(walk) : null;
  const { extents } = wide ?? walk;
  const count = wide ? output.size / 4 : output.size;
  const params = new Uint32Array(8 + 4 * MOST_AXES);
  params.set([count, extents.length, 0, 0, ...axesWords(wide ?? walk)]);
  stridesOf(extents).forEach((stride, axis) => {
    params[4 + 4 * axis + 3] = stride;
  });
  const workgroups = gridOf(count);
  const call = { bindings, params, writes: [2], workgroups };
  if (wide) {
    const [repeatX, repeatY] = wide.repeated as [boolean, boolean];
    const wideValues = { ...values, REPEAT_X: repeatX, REPEAT_Y: repeatY };
    output.device.dispatch('elementwise/broadcast_wide', { ...call, values: wideValues });
  } else output.device.dispatch('elementwise/broadcast', { ...call, values });
}

/** Declares f of two broadcast operands; `gradient` gives their parts in the shape of the result. */
export function define(
  name: keyof typeof BINARY,
  summary: string,
  f: (x: number, y: number) => number,
  gradient: (x: Tensor, y: Tensor, g: Tensor, wanted: readonly boolean[]) => readonly (Tensor | null)[],
): (x: Tensor, y: Tensor) => Tensor {
  const second = (shape: Shape) => (name === 'divide' ? ({ shape, positive: true } as const) : shape);
  const apply = operation<void>({
    name,
    summary,
    dtypes: [NUMBERS, NUMBERS],
    shape: ([x, y]) => {
      const shape = broadcastShape(name, x!, y!);
      checkWalk(name, shape, [stridesWithin(x!, shape), stridesWithin(y!, shape)]);
      return shape;
    },
    forward: ({ inputs: [x, y], output }) => launch(name, x!, y!, output),
    gradient: ({ inputs: [x, y], gradient: g, wanted }) => {
      const parts = gradient(x!, y!, g, wanted);
      const reduced = (part: Tensor | null | undefined, to: Tensor) =>
        part ? reduceTo(part, to.shape) : null;
      return [reduced(parts[0], x!), reduced(parts[1], y!)];
    },
    reference: ([x, y]: readonly ReferenceArray[]) => {
      const shape = broadcastShape(name, x!.shape, y!.shape);
      const [left, right] = [expandReference(x!, shape), expandReference(y!, shape)];
      return left.map((value, i) => f(value, right[i]!));
    },
    cases: [
      { inputs: [[3, 5], second([3, 5])], attributes: undefined },
      { inputs: [[2, 3, 5], second([5])], attributes: undefined },
      { inputs: [[4, 1, 3], second([2, 1])], attributes: undefined },
      { inputs: [[1], second([1])], attributes: undefined },
      { inputs: [[7], second([2, 7])], attributes: undefined },
      { inputs: [[3, 1, 8], second([5, 8])], attributes: undefined },
      { inputs: [[2, 3, 12], second([2, 3, 1])], attributes: undefined },
      { inputs: [[1], second([2, 6])], attributes: undefined },
    ],
  });
  return (x, y) => apply([x, y], undefined);
}

/** x + y, broadcast to a common shape as in NumPy. @throws ShapeError when the shapes do not broadcast */
export const add: (x: Tensor, y: Tensor) => Tensor = define(
  'add',
  'x + y, broadcast',
  (x, y) => x + y,
  (_x, _y, g) => [g, g],
);
/** x - y, broadcast. @throws ShapeError when the shapes do not broadcast */
export const subtract: (x: Tensor, y: Tensor) => Tensor = define(
  'subtract',
  'x - y, broadcast',
  (x, y) => x - y,
  (_x, _y, g, [, second]) => [g, second ? affine(g, -1) : null],
);
/** x * y, broadcast. @throws ShapeError when the shapes do not broadcast */
export const multiply: (x: Tensor, y: Tensor) => Tensor = define(
  'multiply',
  'x * y, broadcast',
  (x, y) => x * y,
  (x, y, g, [first, second]) => [first ? multiply(g, y) : null, second ? multiply(g, x) : null],
);
/** x / y, broadcast. @throws ShapeError when the shapes do not broadcast */
export const divide: (x: Tensor, y: Tensor) => Tensor = define(
  'divide',
  'x / y, broadcast',
  (x, y) => x / y,
  (x, y, g, [first, second]) => [
    first ? divide(g, y) : null,
    second ? affine(divide(multiply(g, x), multiply(y, y)), -1) : null,
  ],
);

const applyAffine = operation<{ scale: number; shift: number }>({
  name: 'affine',
  summary: 'scale * x + shift, two numbers',
  dtypes: [NUMBERS],
  shape: ([x]) => x!,
  forward: ({ inputs: [x], attributes: { scale, shift }, output }) => {
    output.device.dispatch('elementwise/affine', {
      bindings: [x!.storage, output.storage],
      params: new Uint32Array(new Float32Array([scale, shift, 0, 0]).buffer),
      writes: [1],
      workgroups: gridOf(foursOf(output)),
    });
  },
  gradient: ({ attributes: { scale }, gradient }) => [affine(gradient, scale)],
  reference: ([x], { scale, shift }) => x!.data.map((value) => scale * value + shift),
  cases: [{ inputs: [[3, 7]], attributes: { scale: -2.5, shift: 0.5 } }],
});

/** scale * x + shift. */
export function affine(x: Tensor, scale: number, shift = 0): Tensor {
  return applyAffine([x], { scale, shift });
}
