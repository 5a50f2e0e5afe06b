import { pack, unpack } from './data-type.ts';
import type { Device } from './device.ts';
import { type OperationDeclaration, operations } from './operation.ts';
import './operations/attention.ts';
import './operations/elementwise.ts';
import './operations/linear.ts';
import './operations/norm.ts';
import { cast } from './operations/quantised.ts';
import './operations/rms-norm.ts';
import { uniformValues } from './philox.ts';
import { scope } from './scope.ts';
import { type Shape, sizeOf, tensor } from './tensor.ts';

/** What a wrong compiler or driver breaks first, and what all else rests on: how many cases of the table of operations are run. */
const CHECKED: Record<string, number> = {
  ...{ matmul: 3, linear: 2, attention: 1, layerNorm: 1, rmsNorm: 1, softmax: 1, gelu: 1 },
};
/** Of these one case is run with its first input stored as f16, too. */
const STORED: readonly string[] = ['linear', 'layerNorm', 'gelu'];

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

/** Runs products, attention, norms and activations on fresh random numbers; one line for each case that is not what float64 gives. */
export async function checkKernels(device: Device): Promise<string[]> {
  const seed = crypto.getRandomValues(new Uint32Array(2));
  const wrong: string[] = [];
  for (const [name, count] of Object.entries(CHECKED)) {
    const { declaration, apply } = operations.get(name)!;
    const cases = plainCases(declaration);
    const runs = cases.slice(0, count).map((each) => ({ each, stored: 'f32' as 'f32' | 'f16' }));
    if (STORED.includes(name)) runs.push({ each: cases[0]!, stored: 'f16' });
    for (const { each, stored } of runs) {
      const data = each.inputs.map((shape, i) => valuesOf(shape, i, seed, stored));
      const title = `${name} of ${JSON.stringify(each.inputs)} as ${stored}, seed ${seed.join(' ')}`;
      try {
        const inputs = () =>
          data.map((values, i) => cast(tensor(device, values, each.inputs[i]), i === 0 ? stored : 'f32'));
        using y = scope(() => apply(inputs(), each.attributes));
        const error = worstError(declaration, each, data, await y.read());
        const most = toleranceOn(device, declaration) + (stored === 'f16' ? 2 ** -11 : 0);
        if (!(error <= most)) wrong.push(`${title}: relative error ${error}`);
      } catch (error) {
        // A kernel that does not compile spoils the device: nothing after it can run.
        return [...wrong, `${title}: ${(error as Error).message}`];
      }
    }
  }
  return wrong;
}

/** What f16 is to hold starts from what it can. */
function valuesOf(
  shape: Shape,
  index: number,
  seed: Uint32Array,
  stored: 'f32' | 'f16',
): Float32Array<ArrayBuffer> {
  const values = uniformValues(sizeOf(shape), 1, [seed[0]!, seed[1]!], index);
  return stored === 'f16' && index === 0 ? unpack(pack(values, shape, 'f16'), shape, 'f16') : values;
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
