import { NUMBERS } from '../data-type.ts';
import { ShapeError } from '../errors.ts';
import { gridOf, operation } from '../operation.ts';
import type { Shape, Tensor } from '../tensor.ts';
import { broadcastShape, define, reduceTo, stridesWithin } from './arithmetic.ts';
import { checkWalk, MOST_AXES, mergedAxes } from './axes.ts';
import { expandReference, fill, stridesOf } from './layout.ts';

const listed = (shapes: readonly Shape[]) =>
  shapes.map((shape, i) => `${i === 0 ? '' : i === shapes.length - 1 ? ' and ' : ', '}[${shape}]`).join('');

/** The shape that all operands broadcast to. @throws ShapeError naming the axis */
function commonShape(name: string, shapes: readonly Shape[]): Shape {
  const rank = Math.max(...shapes.map((each) => each.length));
  const shape = Array.from({ length: rank }, (_, axis) => {
    const extents = shapes.map((each) => each[axis - rank + each.length] ?? 1);
    const extent = Math.max(...extents);
    if (extents.some((each) => each !== 1 && each !== extent))
      throw new ShapeError(`${name}: shapes ${listed(shapes)} do not broadcast in axis ${axis}`);
    return extent;
  });
  checkWalk(
    name,
    shape,
    shapes.map((each) => stridesWithin(each, shape)),
  );
  return shape;
}

/** Count, rank, per axis the extent and the strides of up to three operands, four starts (0), and per axis the result's stride. */
function stridedParams(operands: readonly Tensor[], shape: Shape, size: number): Uint32Array<ArrayBuffer> {
  const { extents, strides } = mergedAxes(
    shape,
    operands.map((each) => stridesWithin(each.shape, shape)),
  );
  const params = new Uint32Array(4 + 4 * MOST_AXES + 4 + 8);
  params.set([size, extents.length]);
  extents.forEach((extent, axis) => {
    params.set([extent, ...strides.map((own) => own[axis]!)], 4 + 4 * axis);
  });
  params.set(stridesOf(extents), 4 + 4 * MOST_AXES + 4);
  return params;
}

const COMPARISON = { less: 0, lessOrEqual: 1, equal: 2 } as const;

function compare(
  name: keyof typeof COMPARISON,
  summary: string,
  f: (x: number, y: number) => boolean,
): (x: Tensor, y: Tensor) => Tensor {
  const apply = operation<void>({
    name,
    summary,
    dtypes: [NUMBERS, NUMBERS],
    result: 'u32',
    shape: (shapes) => commonShape(name, shapes),
    forward: ({ inputs, output }) => {
      output.device.dispatch('elementwise/compare', {
        values: { operation: COMPARISON[name] },
        bindings: [...inputs, output].map((each) => each.storage),
        params: stridedParams(inputs, output.shape, output.size),
        writes: [2],
        workgroups: gridOf(output.size),
      });
    },
    reference: ([x, y]) => {
      const shape = broadcastShape(name, x!.shape, y!.shape);
      const right = expandReference(y!, shape);
      return expandReference(x!, shape).map((value, i) => Number(f(value, right[i]!)));
    },
    cases: [
      {
        inputs: [
          [3, 5],
          [3, 5],
        ],
        attributes: undefined,
      },
      {
        inputs: [
          [4, 1, 3],
          [2, 1],
        ],
        attributes: undefined,
      },
      { inputs: [[7], [1]], attributes: undefined },
    ],
  });
  return (x, y) => apply([x, y], undefined);
}

/** u32 1 where x < y, else 0, broadcast. Stops gradients. @throws ShapeError when the shapes do not broadcast */
export const less: (x: Tensor, y: Tensor) => Tensor = compare(
  'less',
  'u32 1 where x < y, else 0, broadcast; stops gradients',
  (x, y) => x < y,
);
/** u32 1 where x <= y, else 0, broadcast. Stops gradients. @throws ShapeError when the shapes do not broadcast */
export const lessOrEqual: (x: Tensor, y: Tensor) => Tensor = compare(
  'lessOrEqual',
  'u32 1 where x <= y, else 0, broadcast; stops gradients',
  (x, y) => x <= y,
);
/** u32 1 where x equals y, else 0, broadcast. Stops gradients. @throws ShapeError when the shapes do not broadcast */
export const equal: (x: Tensor, y: Tensor) => Tensor = compare(
  'equal',
  'u32 1 where x equals y, else 0, broadcast; stops gradients',
  (x, y) => x === y,
);

const applyWhere = operation<void>({
  name: 'where',
  summary: 'a where the mask is not 0, else b, broadcast',
  dtypes: ['u32', NUMBERS, NUMBERS],
  shape: (shapes) => commonShape('where', shapes),
  forward: ({ inputs, output }) => {
    output.device.dispatch('elementwise/where', {
      bindings: [...inputs, output].map((each) => each.storage),
      params: stridedParams(inputs, output.shape, output.size),
      writes: [3],
      workgroups: gridOf(output.size),
    });
  },
  gradient: ({ inputs: [mask, a, b], gradient, wanted }) => {
    const zero = fill(gradient.device, [1], 0);
    return [
      null,
      wanted[1] ? reduceTo(where(mask!, gradient, zero), a!.shape) : null,
      wanted[2] ? reduceTo(where(mask!, zero, gradient), b!.shape) : null,
    ];
  },
  reference: ([mask, a, b]) => {
    const shape = commonShape('where', [mask!.shape, a!.shape, b!.shape]);
    const [left, right] = [expandReference(a!, shape), expandReference(b!, shape)];
    return expandReference(mask!, shape).map((taken, i) => (taken !== 0 ? left[i]! : right[i]!));
  },
  cases: [
    { inputs: [{ shape: [3, 5], below: 2 }, [3, 5], [3, 5]], attributes: undefined },
    { inputs: [{ shape: [7], below: 3 }, [7], [1]], attributes: undefined },
    { inputs: [{ shape: [2, 1, 5], below: 2 }, [3, 1], [4, 1, 1, 5]], attributes: undefined },
    { inputs: [{ shape: [1], below: 2 }, [2, 3], [3]], attributes: undefined },
  ],
});

/** `a` where `mask` (u32, such as a comparison's result) is not 0, else `b`; all three broadcast. */
export function where(mask: Tensor, a: Tensor, b: Tensor): Tensor {
  return applyWhere([mask, a, b], undefined);
}

/** The gradient goes to the operand that was taken: to the first one where both are equal. */
function toTaken(firstTaken: Tensor, g: Tensor): readonly Tensor[] {
  const zero = fill(g.device, [1], 0);
  return [where(firstTaken, g, zero), where(firstTaken, zero, g)];
}

/** The larger of x and y, broadcast; the gradient goes to the one taken, to x where they are equal. @throws ShapeError when the shapes do not broadcast */
export const maximum: (x: Tensor, y: Tensor) => Tensor = define(
  'maximum',
  'the larger of x and y, broadcast; where they are equal the gradient is that of x',
  Math.max,
  (x, y, g) => toTaken(lessOrEqual(y, x), g),
);
/** The smaller of x and y, broadcast; the gradient goes to the one taken, to x where they are equal. @throws ShapeError when the shapes do not broadcast */
export const minimum: (x: Tensor, y: Tensor) => Tensor = define(
  'minimum',
  'the smaller of x and y, broadcast; where they are equal the gradient is that of x',
  Math.min,
  (x, y, g) => toTaken(lessOrEqual(x, y), g),
);
