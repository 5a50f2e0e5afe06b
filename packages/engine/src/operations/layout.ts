import { bytesOf, NUMBERS } from '../data-type.ts';
import type { Device } from '../device.ts';
import { ShapeError } from '../errors.ts';
import { gridOf, operation, type ReferenceArray } from '../operation.ts';
import type { KernelValues } from '../pipeline.ts';
import { isRecording, nextOrder } from '../tape.ts';
import { empty, type Shape, sizeOf, Tensor } from '../tensor.ts';
import { axesWords, axisOf, MOST_AXES, mergedAxes, type Walk, wideWalk } from './axes.ts';
import { sum } from './reduce.ts';

/** Where an element of a block lies: offset plus index times stride, per axis. */
export interface Placement {
  offset: number;
  strides: readonly number[];
}

/** Row-major strides of a shape. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis]!;
  }
  return strides;
}

/**
 * Copies a block of elements from where it lies in one tensor to its place in another.
 * @param name the operation that needs it
 * @throws ShapeError when the block has too many axes to walk, those that can be walked as one being one
 */
export function copyBlock(
  source: Tensor,
  from: Placement,
  target: Tensor,
  to: Placement,
  block: Shape,
  name = 'copy',
): void {
  const walk = mergedAxes(block, [from.strides, to.strides]);
  if (walk.extents.length > MOST_AXES)
    throw new ShapeError(
      `${name}: [${block}] is walked along ${walk.extents.length} axes; at most ${MOST_AXES} are possible`,
    );
  const bindings = [source.storage, target.storage];
  // What is copied in parts goes element by element: parts begin anywhere.
  const wide = target.device.bindsWhole(bindings) ? wideCopy(walk, from.offset, to.offset) : null;
  const { extents } = wide?.walk ?? walk;
  const count = sizeOf(extents);
  const offsets = wide?.offsets ?? [from.offset, to.offset];
  const params = new Uint32Array(4 + 4 * MOST_AXES);
  params.set([count, extents.length, ...offsets, ...axesWords(wide?.walk ?? walk)]);
  const call = { bindings, params, writes: [1], workgroups: gridOf(count) };
  // Bits are bits, but f16 is read and written as numbers: one side may be f32.
  const isHalf = source.dtype === 'f16' || target.dtype === 'f16';
  const values: KernelValues = isHalf ? { Element: wide ? 'vec4f' : 'f32' } : {};
  if (wide)
    target.device.dispatch('layout/copy_wide', { ...call, values: { ...values, REPEAT: wide.repeat } });
  else target.device.dispatch('layout/copy', { ...call, values });
}

/** The same copy by whole vec4, where that is possible. */
function wideCopy(
  walk: Walk,
  from: number,
  to: number,
): { walk: Walk; offsets: [number, number]; repeat: boolean } | null {
  const wide = wideWalk(walk);
  if (!wide) return null;
  const [repeat, isPoint] = wide.repeated as [boolean, boolean];
  if (isPoint || to % 4 !== 0 || (!repeat && from % 4 !== 0)) return null;
  return { walk: wide, offsets: [repeat ? from : from / 4, to / 4], repeat };
}

/** The reference of everything that moves elements: walks a block between two placements. */
function copyReference(
  source: Float64Array,
  from: Placement,
  target: Float64Array,
  to: Placement,
  block: Shape,
): void {
  const index = new Array<number>(block.length).fill(0);
  for (let n = sizeOf(block); n > 0; n--) {
    let read = from.offset;
    let write = to.offset;
    index.forEach((at, axis) => {
      read += at * from.strides[axis]!;
      write += at * to.strides[axis]!;
    });
    target[write] = source[read]!;
    for (let axis = block.length - 1; axis >= 0; axis--) {
      if (++index[axis]! < block[axis]!) break;
      index[axis] = 0;
    }
  }
}

/** The values of `x` repeated to `shape`, for references. */
export function expandReference(x: ReferenceArray, shape: Shape): Float64Array {
  const result = new Float64Array(sizeOf(shape));
  const dense = { offset: 0, strides: stridesOf(shape) };
  copyReference(x.data, { offset: 0, strides: repeatedStrides(x.shape, shape) }, result, dense, shape);
  return result;
}

function repeatedStrides(shape: Shape, target: Shape): number[] {
  const own = stridesOf(shape);
  const extra = target.length - shape.length;
  return target.map((_, axis) => (axis < extra || shape[axis - extra] === 1 ? 0 : own[axis - extra]!));
}

/** The same elements in another shape; shares memory. One extent may be -1. @throws ShapeError when the sizes differ */
export function reshape(x: Tensor, shape: Shape): Tensor {
  x.assertAlive('reshape');
  const rest = shape.filter((extent) => extent !== -1);
  const known = sizeOf(rest);
  const full = shape.map((extent) => (extent === -1 ? x.size / known : extent));
  const isClear = shape.length - rest.length <= 1;
  if (!isClear || sizeOf(full) !== x.size || !full.every((extent) => Number.isInteger(extent) && extent > 0))
    throw new ShapeError(`reshape: [${x.shape}] does not fit [${shape}]`);
  if (x.dtype !== 'f16' && bytesOf(x.dtype, full) !== 4 * x.size && full.at(-1) !== x.shape.at(-1))
    throw new ShapeError(`reshape: [${x.shape}] of ${x.dtype} keeps its last axis, not [${shape}]`);
  const result = new Tensor(x.storage.retain(), full, x.dtype);
  if (isRecording() && x.isTracked) {
    const backward = (gradient: Tensor) => [reshape(gradient, x.shape)];
    result.node = {
      operation: 'reshape',
      order: nextOrder(),
      inputs: [x],
      wanted: [true],
      saved: [],
      backward,
    };
  }
  return result;
}

const applyPermute = operation<{ axes: readonly number[] }>({
  name: 'permute',
  summary: 'axes in another order',
  dtypes: [NUMBERS],
  shape: ([x], { axes }) => {
    if (axes.toSorted((a, b) => a - b).join() !== x!.map((_, i) => i).join())
      throw new ShapeError(`permute: axes [${axes}] are no order of the axes of [${x}]`);
    return axes.map((axis) => x![axis]!);
  },
  forward: ({ inputs: [x], attributes: { axes }, output }) => {
    const own = stridesOf(x!.shape);
    const from = { offset: 0, strides: axes.map((axis) => own[axis]!) };
    copyBlock(x!, from, output, { offset: 0, strides: stridesOf(output.shape) }, output.shape, 'permute');
  },
  gradient: ({ attributes: { axes }, gradient }) => [
    permute(
      gradient,
      axes.map((_, i) => axes.indexOf(i)),
    ),
  ],
  reference: ([x], { axes }) => {
    const own = stridesOf(x!.shape);
    const shape = axes.map((axis) => x!.shape[axis]!);
    const result = new Float64Array(x!.data.length);
    const from = { offset: 0, strides: axes.map((axis) => own[axis]!) };
    copyReference(x!.data, from, result, { offset: 0, strides: stridesOf(shape) }, shape);
    return result;
  },
  cases: [
    { inputs: [[3, 5]], attributes: { axes: [1, 0] } },
    { inputs: [[2, 3, 4, 5]], attributes: { axes: [0, 2, 1, 3] } },
  ],
});

/** The axes in another order, as a new tensor. Negative ones count from the end. @throws ShapeError unless each is named once */
export function permute(x: Tensor, axes: readonly number[]): Tensor {
  return applyPermute([x], { axes: axes.map((axis) => axisOf('permute', x.shape, axis)) });
}

interface Slice {
  axis: number;
  start: number;
  length: number;
}

const applySlice = operation<Slice>({
  name: 'slice',
  summary: 'a range of one axis',
  dtypes: [NUMBERS],
  shape: ([x], { axis, start, length }) => {
    const isRange = Number.isInteger(start) && Number.isInteger(length) && start >= 0 && length > 0;
    if (!isRange || start + length > (x![axis] ?? 0))
      throw new ShapeError(`slice: ${start}..${start + length} is outside axis ${axis} of [${x}]`);
    return x!.with(axis, length);
  },
  forward: ({ inputs: [x], attributes: { axis, start }, output }) => {
    const strides = stridesOf(x!.shape);
    const to = { offset: 0, strides: stridesOf(output.shape) };
    copyBlock(x!, { offset: start * strides[axis]!, strides }, output, to, output.shape, 'slice');
  },
  gradient: ({ inputs: [x], attributes: { axis, start }, gradient }) => [
    pad(gradient, axis, start, x!.shape[axis]!),
  ],
  reference: ([x], { axis, start, length }) => {
    const shape = x!.shape.with(axis, length);
    const strides = stridesOf(x!.shape);
    const result = new Float64Array(sizeOf(shape));
    const to = { offset: 0, strides: stridesOf(shape) };
    copyReference(x!.data, { offset: start * strides[axis]!, strides }, result, to, shape);
    return result;
  },
  cases: [
    { inputs: [[4, 6]], attributes: { axis: 1, start: 2, length: 3 } },
    { inputs: [[2, 5, 3]], attributes: { axis: 1, start: 0, length: 1 } },
  ],
});

/** `length` entries from `start` on of one axis, counted from the end where it is negative. @throws ShapeError where it has fewer */
export function slice(x: Tensor, axis: number, start: number, length: number): Tensor {
  return applySlice([x], { axis: axisOf('slice', x.shape, axis), start, length });
}

const applyPad = operation<{ axis: number; before: number; extent: number }>({
  name: 'pad',
  summary: 'zeros before and after along one axis',
  dtypes: [NUMBERS],
  shape: ([x], { axis, before, extent }) => {
    const isPlace = Number.isInteger(before) && Number.isInteger(extent) && before >= 0;
    if (!isPlace || x![axis] === undefined || before + x![axis] > extent)
      throw new ShapeError(`pad: [${x}] at ${before} does not fit ${extent} in axis ${axis}`);
    return x!.with(axis, extent);
  },
  forward: ({ inputs: [x], attributes: { axis, before }, output }) => {
    output.device.run({ kind: 'clear', target: output.storage });
    const strides = stridesOf(output.shape);
    const from = { offset: 0, strides: stridesOf(x!.shape) };
    copyBlock(x!, from, output, { offset: before * strides[axis]!, strides }, x!.shape, 'pad');
  },
  gradient: ({ inputs: [x], attributes: { axis, before }, gradient }) => [
    slice(gradient, axis, before, x!.shape[axis]!),
  ],
  reference: ([x], { axis, before, extent }) => {
    const strides = stridesOf(x!.shape.with(axis, extent));
    const result = new Float64Array(sizeOf(x!.shape.with(axis, extent)));
    const from = { offset: 0, strides: stridesOf(x!.shape) };
    copyReference(x!.data, from, result, { offset: before * strides[axis]!, strides }, x!.shape);
    return result;
  },
  cases: [{ inputs: [[2, 3, 4]], attributes: { axis: 1, before: 2, extent: 6 } }],
});

/** `x` within zeros: one axis, counted from the end where it is negative, grows to `extent`, with `x` at `before`. @throws ShapeError where that is too small */
export function pad(x: Tensor, axis: number, before: number, extent: number): Tensor {
  return applyPad([x], { axis: axisOf('pad', x.shape, axis), before, extent });
}

const applyConcat = operation<{ axis: number }>({
  name: 'concat',
  summary: 'tensors one after the other along one axis',
  dtypes: [NUMBERS],
  rest: NUMBERS,
  shape: (shapes, { axis }) => {
    const first = shapes[0]!;
    if (first[axis] === undefined)
      throw new ShapeError(`concat: axis ${axis} is not one of shapes [${shapes.join('], [')}]`);
    for (const shape of shapes) {
      if (shape.length !== first.length)
        throw new ShapeError(`concat: shapes [${first}] and [${shape}] differ in rank`);
      const differing = shape.findIndex((extent, at) => at !== axis && extent !== first[at]);
      if (differing >= 0)
        throw new ShapeError(
          `concat: shapes [${first}] and [${shape}] differ in axis ${differing}, not ${axis} alone`,
        );
    }
    return first.with(
      axis,
      shapes.reduce((extent, shape) => extent + shape[axis]!, 0),
    );
  },
  forward: ({ inputs, attributes: { axis }, output }) => {
    const strides = stridesOf(output.shape);
    let at = 0;
    for (const input of inputs) {
      const from = { offset: 0, strides: stridesOf(input.shape) };
      copyBlock(input, from, output, { offset: at * strides[axis]!, strides }, input.shape, 'concat');
      at += input.shape[axis]!;
    }
  },
  gradient: ({ inputs, attributes: { axis }, gradient, wanted }) => {
    let at = 0;
    return inputs.map((input, index) => {
      const start = at;
      at += input.shape[axis]!;
      return wanted[index] ? slice(gradient, axis, start, input.shape[axis]!) : null;
    });
  },
  reference: (inputs, { axis }) => {
    const extent = inputs.reduce((sum, input) => sum + input.shape[axis]!, 0);
    const shape = inputs[0]!.shape.with(axis, extent);
    const strides = stridesOf(shape);
    const result = new Float64Array(sizeOf(shape));
    let at = 0;
    for (const input of inputs) {
      const from = { offset: 0, strides: stridesOf(input.shape) };
      copyReference(input.data, from, result, { offset: at * strides[axis]!, strides }, input.shape);
      at += input.shape[axis]!;
    }
    return result;
  },
  cases: [
    {
      inputs: [
        [2, 3],
        [2, 1],
        [2, 4],
      ],
      attributes: { axis: 1 },
    },
    {
      inputs: [
        [1, 4],
        [3, 4],
      ],
      attributes: { axis: 0 },
    },
  ],
});

/** The tensors one after the other along `axis`, counted from the end where it is negative. @throws ShapeError when they differ in another axis, or there are none */
export function concat(tensors: readonly Tensor[], axis: number): Tensor {
  const first = tensors[0];
  return applyConcat(tensors, { axis: first ? axisOf('concat', first.shape, axis) : axis });
}

const applyExpand = operation<{ shape: Shape }>({
  name: 'expand',
  summary: 'repeated along axes of extent 1, or new ones in front',
  dtypes: [NUMBERS],
  shape: ([x], { shape }) => {
    const extra = shape.length - x!.length;
    const differing = x!.findIndex((extent, axis) => extent !== 1 && extent !== shape[axis + extra]);
    if (extra < 0) throw new ShapeError(`expand: [${x}] does not repeat to [${shape}] of lower rank`);
    if (differing >= 0)
      throw new ShapeError(`expand: [${x}] does not repeat to [${shape}] in axis ${differing + extra}`);
    return shape;
  },
  forward: ({ inputs: [x], output }) => {
    const from = { offset: 0, strides: repeatedStrides(x!.shape, output.shape) };
    copyBlock(x!, from, output, { offset: 0, strides: stridesOf(output.shape) }, output.shape, 'expand');
  },
  gradient: ({ inputs: [x], gradient }) => {
    let result = gradient;
    const extra = gradient.shape.length - x!.shape.length;
    gradient.shape.forEach((extent, axis) => {
      const own = axis < extra ? 1 : x!.shape[axis - extra]!;
      if (own === 1 && extent !== 1) result = sum(result, axis, true);
    });
    return [reshape(result, x!.shape)];
  },
  reference: ([x], { shape }) => expandReference(x!, shape),
  cases: [
    { inputs: [[3, 1]], attributes: { shape: [2, 3, 4] } },
    { inputs: [[1, 1, 5]], attributes: { shape: [4, 1, 5] } },
  ],
});

/** `x` repeated to `shape`, along axes of extent 1 and new first ones. @throws ShapeError when it does not fit */
export function expand(x: Tensor, shape: Shape): Tensor {
  x.assertAlive('expand');
  return x.shape.join() === shape.join() ? reshape(x, shape) : applyExpand([x], { shape });
}

const applyGather = operation<void>({
  name: 'gatherRows',
  summary: 'rows of a table by index; stops gradients',
  dtypes: [NUMBERS, 'u32'],
  shape: ([table, index]) => {
    if (sizeOf(table!.slice(1)) % 4 !== 0)
      throw new ShapeError(`gatherRows: rows of [${table}] are not a whole number of four elements`);
    return [...index!, ...table!.slice(1)];
  },
  forward: ({ inputs: [table, index], output }) => {
    const width = sizeOf(table!.shape.slice(1)) / 4;
    output.device.dispatch('layout/gather', {
      bindings: [table!.storage, index!.storage, output.storage],
      params: Uint32Array.of(index!.size, width, table!.shape[0]!, 0),
      writes: [2],
      workgroups: gridOf(index!.size * width),
    });
  },
  reference: ([table, index]) => {
    const width = sizeOf(table!.shape.slice(1));
    const result = new Float64Array(index!.data.length * width);
    index!.data.forEach((row, i) => {
      result.set(table!.data.subarray(row * width, (row + 1) * width), i * width);
    });
    return result;
  },
  cases: [{ inputs: [[5, 2, 4], { shape: [7], below: 5 }], attributes: undefined }],
});

/** The rows `table[index[i]]`. Rows hold a multiple of four elements. Stops gradients. */
export function gatherRows(table: Tensor, index: Tensor): Tensor {
  return applyGather([table, index], undefined);
}

/** A tensor of one value. */
export function fill(device: Device, shape: Shape, value: number): Tensor {
  const result = empty(device, shape);
  device.dispatch('elementwise/fill', {
    bindings: [result.storage],
    params: new Uint32Array(new Float32Array([value, 0, 0, 0]).buffer),
    writes: [0],
    workgroups: gridOf(result.storage.bytes / 4),
  });
  return result;
}
