import type { Device } from './device.ts';
import { type OperationDeclaration, operations } from './operation.ts';
import './operations/attention.ts';
import './operations/linear.ts';
import { uniformValues } from './philox.ts';
import { scope } from './scope.ts';
import { type Shape, sizeOf, tensor } from './tensor.ts';

/** What a wrong compiler or driver breaks first: how many cases of the table of operations are run. */
const CHECKED: Record<string, number> = { matmul: 3, linear: 2, attention: 1 };

interface Case {
  inputs: readonly Shape[];
  attributes: unknown;
}

/** The cases of an operation that take nothing but plain numbers. */
function plainCases({ cases }: OperationDeclaration<unknown>): Case[] {
  return cases.flatMap(({ inputs, attributes }) => {
    const shapes = inputs.filter((input): input is Shape => Array.isArray(input));
    return shapes.length === inputs.length ? [{ inputs: shapes, attributes }] : [];
  });
}

/** Runs products and attention on fresh random numbers; one line for each case that is not what float64 gives. */
export async function checkKernels(device: Device): Promise<string[]> {
  const seed = crypto.getRandomValues(new Uint32Array(2));
  const wrong: string[] = [];
  for (const [name, count] of Object.entries(CHECKED)) {
    const { declaration, apply } = operations.get(name)!;
    for (const each of plainCases(declaration).slice(0, count)) {
      const data = each.inputs.map((shape, i) => uniformValues(sizeOf(shape), 1, [seed[0]!, seed[1]!], i));
      const title = `${name} of ${JSON.stringify(each.inputs)}, seed ${seed.join(' ')}`;
      try {
        const inputs = () => data.map((values, i) => tensor(device, values, each.inputs[i]));
        using y = scope(() => apply(inputs(), each.attributes));
        const error = worstError(declaration, each, data, await y.read());
        if (!(error <= toleranceOn(device, declaration))) wrong.push(`${title}: relative error ${error}`);
      } catch (error) {
        // A kernel that does not compile spoils the device: nothing after it can run.
        return [...wrong, `${title}: ${(error as Error).message}`];
      }
    }
  }
  return wrong;
}

/** Operands rounded to f16 are off by up to 2^-11 each. */
function toleranceOn(device: Device, { name, tolerance = 1e-5 }: OperationDeclaration<unknown>): number {
  return device.subgroupMatrix && name !== 'attention' ? 4e-3 : tolerance;
}

function worstError(
  declaration: OperationDeclaration<unknown>,
  { inputs, attributes }: Case,
  data: readonly Float32Array[],
  actual: Float32Array,
): number {
  const arrays = data.map((values, i) => ({ data: Float64Array.from(values), shape: inputs[i]! }));
  const expected = declaration.reference(arrays, attributes);
  const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-3);
  // `max` passes NaN on.
  return expected.reduce((worst, value, i) => Math.max(worst, Math.abs(actual[i]! - value)), 0) / scale;
}
