import { checkPackable, type FrozenType, pack, packingOf, WEIGHT_TYPES } from '../data-type.ts';
import type { Device } from '../device.ts';
import { EngineError, ShapeError } from '../errors.ts';
import { narrow } from '../half-storage.ts';
import { type Apply, gridOf, operation } from '../operation.ts';
import { empty, type Shape, sizeOf, type Tensor } from '../tensor.ts';
import { reshape } from './layout.ts';

/**
 * A frozen weight in fewer bits, for `linear`, `loraLinear` and `groupedLoraLinear`. Rounded on the host, because division is
 * not exact on every device. It is constant and never gets a gradient; `read()` gives its values as f32.
 * @param shape its last axis a multiple of the group for int4
 * @throws ShapeError when the shape does not fit, EngineError for a value that the type cannot hold
 */
export function quantise(
  device: Device,
  values: Float32Array<ArrayBuffer>,
  shape: Shape,
  dtype: FrozenType,
): Tensor {
  if (values.length !== sizeOf(shape))
    throw new ShapeError(`quantise: ${values.length} values for shape [${shape}]`);
  checkPackable('quantise', dtype, shape);
  const words = pack(values, shape, dtype);
  const made = empty(device, shape, dtype, `a ${dtype} weight`);
  device.upload(made.storage, words);
  made.storage.constant = true;
  return made;
}

/** Writes to `y` (f32) as many values of a frozen weight as it holds, from number `first` on. */
export function launchUnpack(x: Tensor, first: number, y: Tensor): void {
  const { bits, scales, group } = packingOf(x.dtype, x.shape);
  y.device.dispatch('quantised/unpack', {
    values: { BITS: bits },
    bindings: [x.storage, x.storage, y.storage],
    params: new Uint32Array([y.size, first, 0, scales, group]),
    writes: [2],
    workgroups: gridOf(y.size),
  });
}

const applyDequantise = operation<void>({
  name: 'dequantise',
  summary: 'the values of a frozen weight as f32',
  dtypes: [WEIGHT_TYPES],
  result: 'f32',
  shape: ([x]) => x!,
  forward: ({ inputs: [x], output }) => {
    launchUnpack(x!, 0, output);
  },
  gradient: ({ gradient }) => [gradient],
  reference: ([x]) => x!.data,
  tolerance: 0,
  cases: [
    { inputs: [{ shape: [3, 5], dtype: 'f16' }], attributes: undefined },
    { inputs: [{ shape: [3, 7], dtype: 'int8' }], attributes: undefined },
    { inputs: [{ shape: [3, 96], dtype: 'int4x32' }], attributes: undefined },
    { inputs: [{ shape: [2, 64], dtype: 'int4x64' }], attributes: undefined },
  ],
});

const applyRound: Apply<void> = operation<void>({
  name: 'round',
  summary: 'f32 stored as f16, rounded to the nearest, ties to even; gradients pass as they are',
  result: 'f16',
  shape: ([x]) => x!,
  forward: ({ inputs: [x], output }) => narrow(x!.storage, output.storage),
  gradient: ({ gradient }) => [gradient],
  reference: ([x]) => x!.data,
  tolerance: 2 ** -11,
  cases: [
    { inputs: [[3, 5]], attributes: undefined },
    { inputs: [[2, 33, 4]], attributes: undefined },
  ],
});

/** The values of a frozen weight as f32, exactly those that products compute with. */
export function dequantise(x: Tensor): Tensor {
  return applyDequantise([x], undefined);
}

/**
 * `x` in another type, on the device: f32 to f16 is rounded to the nearest, ties to even (beyond 65,504 to infinity); every
 * frozen type to f32 is exact. Gradients are f32 on both sides, and pass as they are.
 */
export function cast(x: Tensor, dtype: 'f16' | 'f32'): Tensor {
  x.assertAlive('cast');
  if (x.dtype === dtype) return reshape(x, x.shape);
  if (dtype === 'f32') return dequantise(x);
  if (dtype !== 'f16') throw new EngineError(`cast: [${x.shape}] to ${dtype}, which is neither f16 nor f32`);
  if (x.dtype !== 'f32') throw new ShapeError(`cast: [${x.shape}] holds ${x.dtype}, not f32`);
  return applyRound([x], undefined);
}
