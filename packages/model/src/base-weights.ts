import {
  type Device,
  EngineError,
  type FrozenType,
  quantise,
  type Tensor,
  tensorInPieces,
} from '@s3t/engine';
import { streamTensor, type TensorStore } from './checkpoint/tensor-store.ts';
import { ModelError } from './errors.ts';
import type { Owned } from './owned.ts';

/** What a configuration may keep the weights of a base's linear layers in, and the engine's type for it. */
export const QUANTIZATIONS: Readonly<Record<Quantization, FrozenType>> = {
  f16: 'f16',
  int8: 'int8',
  int4: 'int4x32',
};
export type Quantization = 'f16' | 'int8' | 'int4';

/** The engine's type for a quantization, if there is one. */
export function frozenType(quantization: Quantization | undefined): FrozenType | undefined {
  return quantization && QUANTIZATIONS[quantization];
}

/** A weight of a base model. */
export interface Parameter {
  /** Its name in the checkpoint, without the prefix that some checkpoints put before it. */
  name: string;
  /** What checkpoints of an older `transformers` call it, which reads them still. */
  formerly?: string;
  shape: readonly number[];
  /** Whether it lies outside the part that the prefix names, as a language model's head does. */
  outside?: true;
  /** The type it is kept in on the device. Default: f32. */
  dtype?: FrozenType;
}

/** How weights are put on a device. */
export interface Placing {
  /** Gets what is there, for whoever may have to give it back though all of it was placed. */
  owned?: Owned | undefined;
  /** Ends it after the tensor that is under way, with its reason. */
  signal?: AbortSignal | undefined;
}

/**
 * Puts base weights on a device as constants, one after the other: host memory holds one at a time.
 * @param prefix what a checkpoint with a head puts before the names ("vit."); those of a bare model have none
 * @returns by name, without the prefix. Nothing stays on the device when one is refused
 * @throws ModelError naming file and tensor
 */
export async function placeWeights(
  device: Device,
  store: TensorStore,
  parameters: readonly Parameter[],
  prefix: string,
  { owned, signal }: Placing = {},
): Promise<Map<string, Tensor>> {
  const placed = new Map<string, Tensor>();
  // What has to be rounded as a whole passes through here, one after the other: fresh memory takes longer than reading.
  let memory = new Float32Array();
  const gather = async (name: string, shape: readonly number[]) => {
    const size = shape.reduce((product, extent) => product * extent, 1);
    if (memory.length < size) memory = new Float32Array(size);
    await streamTensor(store, name, (values, at) => memory.set(values, at));
    return memory.subarray(0, size);
  };
  try {
    for (const parameter of parameters) {
      signal?.throwIfAborted();
      const { name, shape, dtype } = parameter;
      const stored = storedName(store, parameter, prefix);
      const found = store.info(stored).shape;
      if (found.join() !== shape.join())
        throw new ModelError(
          `${store.fileOf(stored)}: tensor ${stored} has shape [${found}], config.json asks for [${shape}]`,
        );
      const weight = dtype
        ? rounded(
            device,
            await gather(stored, shape),
            shape,
            dtype,
            () => `${store.fileOf(stored)}: tensor ${stored}`,
          )
        : await tensorInPieces(device, shape, (write) => streamTensor(store, stored, write));
      placed.set(name, weight);
      owned?.add(weight, (each) => each.dispose());
    }
    return placed;
  } catch (error) {
    for (const weight of placed.values()) weight.dispose();
    throw error;
  }
}

/** The name of a parameter in a checkpoint with a head. */
export function fullName({ name, outside }: Parameter, prefix: string): string {
  return outside ? name : `${prefix}${name}`;
}

/** What a checkpoint calls a parameter; its full name if it does not have it. */
export function storedName(store: TensorStore, parameter: Parameter, prefix: string): string {
  const { name, formerly, outside } = parameter;
  const names = [name, ...(formerly === undefined ? [] : [formerly])];
  const known = outside ? names : names.flatMap((each) => [each, `${prefix}${each}`]);
  return known.find((each) => store.has(each)) ?? fullName(parameter, prefix);
}

/** @throws ModelError naming the tensor that the type cannot hold */
function rounded(
  device: Device,
  values: Float32Array<ArrayBuffer>,
  shape: readonly number[],
  dtype: FrozenType,
  where: () => string,
): Tensor {
  try {
    return quantise(device, values, shape, dtype);
  } catch (cause) {
    if (!(cause instanceof EngineError)) throw cause;
    throw new ModelError(`${where()} cannot be held as ${dtype}: ${cause.message}`, { cause });
  }
}
