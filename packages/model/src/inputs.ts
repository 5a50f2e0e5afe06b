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

/** Fields of texts that are padded to `tokens` tokens. */
export function fieldsAt(fields: readonly InputField[], tokens: number): InputField[] {
  return fields.map((field) => (field.perToken ? { ...field, shape: [tokens] } : field));
}

/**
 * Copies records `from` to `from + count` of `source` to row `at` of `target`.
 * @param cut the fields as `target` has them, where they hold fewer tokens. Default: `fields`
 */
export function copyInputs(
  fields: readonly InputField[],
  source: HostInputs,
  from: number,
  count: number,
  target: HostInputs,
  at: number,
  cut: readonly InputField[] = fields,
): void {
  for (const [index, field] of fields.entries()) {
    const size = sizeOf(field);
    const kept = sizeOf(cut[index]!);
    for (let row = 0; row < count; row++) {
      const start = (from + row) * size;
      target[field.name]!.set(source[field.name]!.subarray(start, start + kept), (at + row) * kept);
    }
  }
}

/** The inputs of one of `count` records: a view. */
export function recordOf(inputs: HostInputs, record: number, count: number): HostInputs {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, values]) => {
      const size = values.length / count;
      return [name, values.subarray(record * size, (record + 1) * size)];
    }),
  );
}

export function writeInputs(fields: readonly InputField[], source: HostInputs, target: Inputs): void {
  for (const { name } of fields) target[name]!.write(source[name]!);
}

/** The inputs that layers read. */
export function carriedInputs(fields: readonly InputField[], inputs: Inputs): Inputs {
  return Object.fromEntries(fields.filter(({ carried }) => carried).map(({ name }) => [name, inputs[name]!]));
}
