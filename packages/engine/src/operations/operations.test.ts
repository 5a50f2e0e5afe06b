import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  Device,
  gradients,
  multiply,
  type OperationDeclaration,
  operations,
  type ReferenceArray,
  scope,
  tensor,
  total,
  uniformValues,
} from '../index.ts';
import { makeInput } from '../testing/inputs.ts';

let device: Device;
beforeAll(async () => {
  device = await Device.open();
});
afterAll(() => device.close());

function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  const scale = Math.max(1e-3, ...Array.from(expected, Math.abs));
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i]! - expected[i]!);
    if (!(error <= worst)) worst = error;
  }
  expect(worst / scale).toBeLessThanOrEqual(tolerance);
}

/** Elements of an input whose gradient is checked; each costs two runs of the reference. */
const MOST_CHECKED = 60;

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
  weights: Float64Array,
  index: number,
  elements: readonly number[],
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

describe.each([...operations])('%s', (_name, { declaration, apply }) => {
  test.each(declaration.cases.map((c) => [JSON.stringify(c), c] as const))('%s', async (_title, testCase) => {
    const made = testCase.inputs.map((input, i) => makeInput(input, i + 1));
    const arrays = made.map(({ array }) => array);
    const { attributes } = testCase;
    const tolerance = declaration.tolerance ?? 1e-5;
    const expected = declaration.reference(arrays, attributes);
    const differentiable = arrays.map((_, i) => isDifferentiable(declaration, i));

    const { output, computed, weights } = scope(() => {
      const inputs = made.map(({ toTensor }, i) => toTensor(device, differentiable[i]!));
      const y = apply(inputs, attributes);
      const w = uniformValues(y.size, 1, [99, 7], 0);
      if (!declaration.gradient) return { output: y, computed: [], weights: w };
      const trainable = inputs.filter((input) => input.trainable);
      const loss = total(multiply(y, tensor(device, w, y.shape)));
      return { output: y, computed: gradients(loss, trainable), weights: w };
    });
    expectClose(await output.read(), expected, tolerance);
    const indices = arrays.map((_, i) => i).filter((i) => differentiable[i]);
    for (const [position, gradient] of computed.entries()) {
      const elements = checkedElements(gradient.size);
      const numerical = numericalGradient(
        declaration,
        arrays,
        attributes,
        Float64Array.from(weights),
        indices[position]!,
        elements,
      );
      const values = await gradient.read();
      expect(values.every(Number.isFinite)).toBe(true);
      expectClose(
        elements.map((i) => values[i]!),
        numerical,
        10 * tolerance,
      );
    }
    output.dispose();
    for (const gradient of computed) gradient.dispose();
  });
});

function isDifferentiable(
  { dtypes, gradient, frozen }: OperationDeclaration<unknown>,
  index: number,
): boolean {
  return gradient !== undefined && (dtypes?.[index] ?? 'f32') === 'f32' && !frozen?.includes(index);
}
