import { ShapeError } from '../errors.ts';
import type { Shape } from '../tensor.ts';

/** How many axes a kernel walks. */
export const MOST_AXES = 6;

/** The axis, counted from the end where it is negative. @throws ShapeError when the shape does not have it */
export function axisOf(name: string, shape: Shape, axis: number): number {
  const positive = axis < 0 ? axis + shape.length : axis;
  if (!Number.isInteger(axis) || positive < 0 || positive >= shape.length)
    throw new ShapeError(`${name}: axis ${axis} is not one of shape [${shape}]`);
  return positive;
}

/** What a walk over a block takes: the extents of its axes, and one list of strides an operand. */
export interface Walk {
  extents: number[];
  strides: number[][];
}

/**
 * The same walk with as few axes as possible, innermost last and at least one: those of extent 1 are left out, and neighbours that
 * every operand passes in one stride are one.
 */
export function mergedAxes(extents: readonly number[], strides: readonly (readonly number[])[]): Walk {
  const merged: Walk = { extents: [], strides: strides.map(() => []) };
  extents.forEach((extent, axis) => {
    if (extent === 1) return;
    const last = merged.extents.length - 1;
    const joins = last >= 0 && strides.every((own, i) => merged.strides[i]![last] === extent * own[axis]!);
    if (joins) merged.extents[last]! *= extent;
    else merged.extents.push(extent);
    const at = joins ? last : last + 1;
    strides.forEach((own, i) => {
      merged.strides[i]![at] = own[axis]!;
    });
  });
  return merged.extents.length > 0 ? merged : { extents: [1], strides: strides.map(() => [1]) };
}

/** @throws ShapeError when a result of this shape has too many axes to walk, those that can be walked as one being one */
export function checkWalk(name: string, shape: Shape, strides: readonly (readonly number[])[]): void {
  if (mergedAxes(shape, strides).extents.length > MOST_AXES)
    throw new ShapeError(`${name}: more than ${MOST_AXES} axes in [${shape}]`);
}

/**
 * The walk by whole vec4 of the last axis: that extent, and the strides of operands that run along it, in vec4. Null when the last
 * axis does not hold whole vec4, or an operand neither runs along it from vec4 to vec4 nor is repeated (stride 0).
 */
export function wideWalk({ extents, strides }: Walk): (Walk & { repeated: boolean[] }) | null {
  const inner = extents.length - 1;
  if (extents[inner]! % 4 !== 0) return null;
  const repeated = strides.map((own) => own[inner] === 0);
  const fits = (own: readonly number[], i: number) =>
    repeated[i] || own.every((stride, axis) => (axis === inner ? stride === 1 : stride % 4 === 0));
  if (!strides.every(fits)) return null;
  return {
    extents: extents.with(inner, extents[inner]! / 4),
    strides: strides.map((own, i) =>
      repeated[i] ? own : own.map((stride, axis) => (axis === inner ? stride : stride / 4)),
    ),
    repeated,
  };
}

/** The part of a kernel's parameters that describes a walk with two operands: four words an axis. */
export function axesWords({ extents, strides: [first, second] }: Walk): number[] {
  return extents.flatMap((extent, axis) => [extent, first![axis]!, second![axis]!, 0]);
}
