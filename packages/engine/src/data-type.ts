import { EngineError, ShapeError } from './errors.ts';

/**
 * How a frozen weight may be held in fewer bits. Elements are packed row-major into 32-bit words, from the low bits up:
 * - `f16`: rounded to the nearest, ties to even; read with `unpack2x16float`, so no adapter needs `shader-f16`
 * - `int8`: level * scale, levels -127 to 127, an f32 scale for each row (last axis)
 * - `int4x32`, `int4x64`: level * scale, levels -7 to 7, an f32 scale for every 32 or 64 elements of a row
 *
 * The scales lie behind the levels, in the same memory. A value is one f32 product, so it has the same bits everywhere.
 */
export type FrozenType = 'f16' | 'int8' | 'int4x32' | 'int4x64';

export type DataType = 'f32' | 'u32' | FrozenType;

/** What the frozen weight of a product may be. */
export const WEIGHT_TYPES: readonly DataType[] = ['f32', 'f16', 'int8', 'int4x32', 'int4x64'];

/** What an operation takes that computes in f32: f16 is only how it is stored. Where its first input is f16, so is its result. */
export const NUMBERS: readonly DataType[] = ['f32', 'f16'];

/** Bits of an element, and how many elements share a scale: 0 for none, -1 for those of a row. */
const FORMS: Record<DataType, { bits: number; group: number }> = {
  f32: { bits: 32, group: 0 },
  u32: { bits: 32, group: 0 },
  f16: { bits: 16, group: 0 },
  int8: { bits: 8, group: -1 },
  int4x32: { bits: 4, group: 32 },
  int4x64: { bits: 4, group: 64 },
};

/** Where everything lies, for kernels: bits of an element, the word of the first scale, elements of a scale (1: there are none). */
export interface Packing {
  bits: number;
  scales: number;
  group: number;
}

export function packingOf(dtype: DataType, shape: readonly number[]): Packing {
  const { bits, group } = FORMS[dtype];
  const words = Math.ceil(sizeOf(shape) / (32 / bits));
  return { bits, scales: words, group: group < 0 ? shape.at(-1)! : Math.max(1, group) };
}

/** Bytes of a tensor. */
export function bytesOf(dtype: DataType, shape: readonly number[]): number {
  const { scales, group } = packingOf(dtype, shape);
  return 4 * (FORMS[dtype].group === 0 ? scales : scales + sizeOf(shape) / group);
}

/** How many elements a shape holds. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

/** Fails unless every extent is a positive integer: kernels, and the loops that launch them, count on it. @throws ShapeError */
export function checkExtents(what: string, shape: readonly number[]): void {
  const axis = shape.findIndex((extent) => !(Number.isInteger(extent) && extent > 0));
  if (axis >= 0)
    throw new ShapeError(
      `${what} of shape [${shape}]: axis ${axis} is ${shape[axis]}, not a positive integer`,
    );
}

/** Fails unless a tensor of this shape can be held so. @throws ShapeError */
export function checkPackable(name: string, dtype: DataType, shape: readonly number[]): void {
  checkExtents(`${name}: a weight`, shape);
  checkType(name, dtype, shape);
}

/** The same for extents that are in order. @throws ShapeError */
export function checkType(name: string, dtype: DataType, shape: readonly number[]): void {
  if (!Object.hasOwn(FORMS, dtype)) throw new ShapeError(`${name}: no tensor [${shape}] holds ${dtype}`);
  const { group } = FORMS[dtype];
  if (group !== 0 && shape.length === 0)
    throw new ShapeError(`${name}: [${shape}] has no rows that ${dtype} could scale`);
  if (group > 0 && shape.at(-1)! % group !== 0)
    throw new ShapeError(`${name}: the last axis of [${shape}] is no multiple of the ${group} of ${dtype}`);
}

/** Values in the words of a frozen type. @throws ShapeError when they do not fit the shape, EngineError naming a value that it cannot hold */
export function pack(
  values: Float32Array<ArrayBuffer>,
  shape: readonly number[],
  dtype: FrozenType,
): Uint32Array<ArrayBuffer> {
  checkPackable('packWeight', dtype, shape);
  if (values.length !== sizeOf(shape))
    throw new ShapeError(`packWeight: ${values.length} values for shape [${shape}]`);
  const { bits, scales, group } = packingOf(dtype, shape);
  const words = new Uint32Array(bytesOf(dtype, shape) / 4);
  const scaleOf = new Float32Array(words.buffer);
  const perWord = 32 / bits;
  const most = 2 ** (bits - 1) - 1;
  for (let first = 0; first < values.length; first += dtype === 'f16' ? values.length : group) {
    const end = dtype === 'f16' ? values.length : first + group;
    let scale = 1;
    if (dtype !== 'f16') {
      let largest = 0;
      for (let i = first; i < end; i++) largest = Math.max(largest, Math.abs(values[i]!));
      // A scale that a device may flush to zero is zero.
      scale = largest / most < 2 ** -126 ? 0 : Math.fround(largest / most);
      scaleOf[scales + first / group] = scale;
    }
    for (let i = first; i < end; i++) {
      const value = values[i]!;
      if (!(Math.abs(value) < (dtype === 'f16' ? 65_520 : Number.POSITIVE_INFINITY)))
        throw new EngineError(`quantise: element ${i} is ${value}, which ${dtype} cannot hold`);
      const level = scale === 0 ? 0 : Math.max(-most, Math.min(most, roundToEven(value / scale)));
      const field = dtype === 'f16' ? halfOf(value) : level & (2 ** bits - 1);
      words[Math.floor(i / perWord)]! |= field << ((i % perWord) * bits);
    }
  }
  return words;
}

/** The values that the words of a frozen type stand for: the same bits as every kernel computes. @throws ShapeError when they do not fit the shape */
export function unpack(
  words: Uint32Array<ArrayBuffer>,
  shape: readonly number[],
  dtype: FrozenType,
): Float32Array<ArrayBuffer> {
  checkPackable('unpackWeight', dtype, shape);
  const wanted = bytesOf(dtype, shape) / 4;
  if (words.length < wanted)
    throw new ShapeError(
      `unpackWeight: ${words.length} words for shape [${shape}] of ${dtype}, not ${wanted}`,
    );
  const { bits, scales, group } = packingOf(dtype, shape);
  const scaleOf = new Float32Array(words.buffer);
  const perWord = 32 / bits;
  return Float32Array.from({ length: sizeOf(shape) }, (_, i) => {
    const shift = (i % perWord) * bits;
    const word = words[Math.floor(i / perWord)]!;
    if (dtype === 'f16') return valueOfHalf((word >>> shift) & 0xffff);
    return ((word << (32 - bits - shift)) >> (32 - bits)) * scaleOf[scales + Math.floor(i / group)]!;
  });
}

function roundToEven(value: number): number {
  return Math.abs(value % 1) === 0.5 ? 2 * Math.round(value / 2) : Math.round(value);
}

const float = new Float32Array(1);
const bitsOfFloat = new Uint32Array(float.buffer);

/** The f16 nearest to a value, ties to even. A carry out of the mantissa raises the exponent, as it should. */
function halfOf(value: number): number {
  float[0] = value;
  const word = bitsOfFloat[0]!;
  const exponent = Math.max(-14, ((word >>> 23) & 0xff) - 127);
  const mantissa = roundToEven(Math.abs(value) * 2 ** (10 - exponent));
  return ((word >>> 16) & 0x8000) | (((exponent + 14) << 10) + mantissa);
}

function valueOfHalf(half: number): number {
  const exponent = (half >>> 10) & 31;
  const mantissa = half & 1023;
  if (exponent === 31) return mantissa ? Number.NaN : half & 0x8000 ? -Infinity : Infinity;
  const magnitude = exponent === 0 ? mantissa * 2 ** -24 : (1024 + mantissa) * 2 ** (exponent - 25);
  return half & 0x8000 ? -magnitude : magnitude;
}
