import {
  type CaseInput,
  type Device,
  packWeight,
  philox,
  quantise,
  type ReferenceArray,
  sizeOf,
  type Tensor,
  tensor,
  uniformValues,
  unpackWeight,
} from '@s3t/engine';

/** A made-up input of an operation: the values for its reference, and the same as a tensor. */
export interface MadeInput {
  array: ReferenceArray;
  toTensor(device: Device, trainable: boolean): Tensor;
}

/** Values of an input as the device holds them: the reference starts from the same roundings. */
export function makeInput(input: CaseInput, seed: number): MadeInput {
  if (Array.isArray(input)) {
    const values = uniformValues(sizeOf(input), 2, [seed, 7], 0);
    return floatInput(values, input);
  }
  if ('positive' in input) {
    const values = uniformValues(sizeOf(input.shape), 1, [seed, 7], 0).map((value) => value + 1.5);
    return floatInput(values as Float32Array<ArrayBuffer>, input.shape);
  }
  if ('dtype' in input) {
    const values = uniformValues(sizeOf(input.shape), 2, [seed, 7], 0);
    const words = packWeight(values, input.shape, input.dtype);
    return {
      array: { data: Float64Array.from(unpackWeight(words, input.shape, input.dtype)), shape: input.shape },
      toTensor: (device) => quantise(device, values, input.shape, input.dtype),
    };
  }
  const { shape, below } = input as { shape: number[]; below: number };
  const words = Uint32Array.from(
    { length: sizeOf(shape) },
    (_, i) => philox([i, 0, 0, 0], [seed, 7])[0] % below,
  );
  return {
    array: { data: Float64Array.from(words), shape },
    toTensor: (device) => tensor(device, words, shape),
  };
}

/** The same input stored as f16, from where the reference starts too. Gradients are those of the f32 tensor it is rounded from. */
export function asHalf({ array: { data, shape } }: MadeInput): MadeInput {
  const rounded = unpackWeight(packWeight(Float32Array.from(data), shape, 'f16'), shape, 'f16');
  return floatInput(rounded, shape);
}

function floatInput(values: Float32Array<ArrayBuffer>, shape: readonly number[]): MadeInput {
  return {
    array: { data: Float64Array.from(values), shape },
    toTensor: (device, trainable) => tensor(device, values, shape, { trainable }),
  };
}
