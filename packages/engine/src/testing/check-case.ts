import {
  type CaseInput,
  cast,
  type Device,
  gradients,
  multiply,
  type Operation,
  type OperationCase,
  type OperationDeclaration,
  type ReferenceArray,
  scope,
  type Tensor,
  tensor,
  total,
  uniformValues,
} from '@s3t/engine';
import { asHalf, makeInput } from './inputs.ts';

/** Elements of an input whose gradient is checked; each costs two runs of the reference. */
const MOST_CHECKED = 60;

/** What an operation computed in one case, and how far it lies from its reference, relative to the largest value. */
export interface CheckedCase {
  /** The output and the gradients of the differentiable inputs. */
  values: (Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>)[];
  /** Of the output, and of the gradients. NaN where something is not finite. */
  errors: { forward: number; gradients: number[] };
  /** The largest error allowed in each. */
  tolerances: { forward: number; gradients: number };
}

/** One case of an operation, computed forward and backward. */
export interface ComputedCase {
  /** The output and the gradients of the differentiable inputs. */
  values: CheckedCase['values'];
  arrays: readonly ReferenceArray[];
  /** Which inputs are differentiable. */
  indices: readonly number[];
  /** The gradients are those of sum(weights * output). */
  weights: Float32Array;
}

/** Half the step from 1 to the next f16: how far rounding may take a value, relative to it. */
const HALF_STEP = 2 ** -11;

/** Which inputs of a case an operation may take as f16, numbers all. */
export function storableInputs(
  { dtypes, rest }: OperationDeclaration<unknown>,
  inputs: readonly CaseInput[],
): number[] {
  return inputs.flatMap((input, i) => {
    const types = [dtypes?.[i] ?? rest ?? 'f32'].flat();
    const isNumber = Array.isArray(input) || 'positive' in input;
    return isNumber && types.includes('f16') && !types.includes('u32') ? [i] : [];
  });
}

/** Computes one case of an operation forward and backward. @param stored what inputs that may be f16 are stored as */
export async function computeCase(
  device: Device,
  { declaration, apply }: Operation,
  { inputs, attributes }: OperationCase<unknown>,
  stored: 'f32' | 'f16' = 'f32',
): Promise<ComputedCase> {
  const halves = stored === 'f16' ? storableInputs(declaration, inputs) : [];
  const made = inputs
    .map((input, i) => makeInput(input, i + 1))
    .map((input, i) => (halves.includes(i) ? asHalf(input) : input));
  const indices = inputs.flatMap((input, i) => (isDifferentiable(declaration, input, i) ? [i] : []));
  let weights = new Float32Array();
  const computed = scope((): Tensor[] => {
    const tensors = made.map(({ toTensor }, i) => toTensor(device, indices.includes(i)));
    const y = apply(
      tensors.map((each, i) => (halves.includes(i) ? cast(each, 'f16') : each)),
      attributes,
    );
    if (!declaration.gradient) return [y];
    weights = uniformValues(y.size, 1, [99, 7], 0);
    const loss = total(multiply(y, tensor(device, weights, y.shape)));
    return [
      y,
      ...gradients(
        loss,
        indices.map((i) => tensors[i]!),
      ),
    ];
  });
  const values: CheckedCase['values'] = [];
  for (const each of computed)
    values.push(each.dtype === 'u32' ? await each.readUint32() : await each.read());
  for (const each of computed) each.dispose();
  return { values, arrays: made.map(({ array }) => array), indices, weights };
}

/** Holds one case of an operation against its reference, and its gradients against finite differences of that. */
export async function checkCase(
  device: Device,
  operation: Operation,
  testCase: OperationCase<unknown>,
  stored: 'f32' | 'f16' = 'f32',
): Promise<CheckedCase> {
  const { declaration } = operation;
  const { attributes } = testCase;
  const { values, arrays, indices, weights } = await computeCase(device, operation, testCase, stored);
  // A result is rounded once; a gradient is f32, but rules start from results that were rounded.
  const rounding = stored === 'f16' && declaration.result !== 'u32' ? HALF_STEP : 0;
  const tolerance = declaration.tolerance ?? (declaration.result === 'u32' ? 0 : 1e-5);
  const [output, ...found] = values;
  return {
    values,
    errors: {
      forward: relativeError(output!, declaration.reference(arrays, attributes)),
      gradients: found.map((gradient, position) => {
        if (!gradient.every(Number.isFinite)) return Number.NaN;
        const elements = checkedElements(gradient.length);
        const sought = { index: indices[position]!, elements, weights };
        return relativeError(
          elements.map((i) => gradient[i]!),
          numericalGradient(declaration, arrays, attributes, sought),
        );
      }),
    },
    tolerances: { forward: tolerance + rounding, gradients: 10 * tolerance + 4 * rounding },
  };
}

function isDifferentiable(
  { dtypes, gradient, frozen }: OperationDeclaration<unknown>,
  input: CaseInput,
  index: number,
): boolean {
  const mayBeNumber = [dtypes?.[index] ?? 'f32'].flat().includes('f32');
  return gradient !== undefined && mayBeNumber && !('dtype' in input) && !frozen?.includes(index);
}

/** The largest difference, relative to the largest value expected; NaN where anything is none, or the sizes differ. */
function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Number.NaN;
  let [worst, scale] = [0, 1e-3];
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i]! - expected[i]!);
    if (!(error <= worst)) worst = error;
    scale = Math.max(scale, Math.abs(expected[i]!));
  }
  return worst / scale;
}

/** Which elements: all of a small input, else the first, the last and what lies evenly spread between. */
function checkedElements(size: number): number[] {
  const count = Math.min(size, MOST_CHECKED);
  return Array.from({ length: count }, (_, i) => Math.round((i * (size - 1)) / Math.max(1, count - 1)));
}

/** d sum(weights * f(inputs)) / d inputs[index] at some elements, by central differences in float64. */
function numericalGradient(
  declaration: OperationDeclaration<unknown>,
  arrays: readonly ReferenceArray[],
  attributes: unknown,
  { index, elements, weights }: { index: number; elements: readonly number[]; weights: Float32Array },
): number[] {
  const step = 1e-5;
  const { data, shape } = arrays[index]!;
  const valueAt = (i: number, value: number) => {
    const moved = Float64Array.from(data);
    moved[i] = value;
    const result = declaration.reference(arrays.with(index, { data: moved, shape }), attributes);
    return result.reduce((sum, y, j) => sum + y * weights[j]!, 0);
  };
  return elements.map((i) => (valueAt(i, data[i]! + step) - valueAt(i, data[i]! - step)) / (2 * step));
}
