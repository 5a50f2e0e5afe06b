import { type Device, zeros } from '@s3t/engine';
import type { HostInputs, InputField, Inputs } from './architecture.ts';

const sizeOf = ({ shape }: InputField) => shape.reduce((product, extent) => product * extent, 1);

/** Tensors for the inputs of a batch, to be written before each replay. */
export function placeInputs(device: Device, fields: readonly InputField[], batch: number): Inputs {
  return Object.fromEntries(
    fields.map(({ name, shape, dtype }) => [name, zeros(device, [batch, ...shape], { dtype })]),
  );
}

/** Room for the inputs of `count` records. */
export function hostInputs(fields: readonly InputField[], count: number): HostInputs {
  return Object.fromEntries(
    fields.map((field) => {
      const size = count * sizeOf(field);
      return [field.name, field.dtype === 'f32' ? new Float32Array(size) : new Uint32Array(size)];
    }),
  );
}

/** Copies records `from` to `from + count` of `source` to row `at` of `target`. */
export function copyInputs(
  fields: readonly InputField[],
  source: HostInputs,
  from: number,
  count: number,
  target: HostInputs,
  at: number,
): void {
  for (const field of fields) {
    const size = sizeOf(field);
    target[field.name]!.set(source[field.name]!.subarray(from * size, (from + count) * size), at * size);
  }
}

export function writeInputs(fields: readonly InputField[], source: HostInputs, target: Inputs): void {
  for (const { name } of fields) target[name]!.write(source[name]!);
}

/** The inputs that layers read. */
export function carriedInputs(fields: readonly InputField[], inputs: Inputs): Inputs {
  return Object.fromEntries(fields.filter(({ carried }) => carried).map(({ name }) => [name, inputs[name]!]));
}
