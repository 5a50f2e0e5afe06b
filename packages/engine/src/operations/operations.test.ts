import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Device, type OperationCase, operations } from '../index.ts';
import { checkCase, storableInputs } from '../testing/check-case.ts';

let device: Device;
beforeAll(async () => {
  device = await Device.open();
});
afterAll(() => device.close());

describe.each([...operations])('%s', (_name, operation) => {
  const { declaration } = operation;
  const check = async (testCase: OperationCase<unknown>, stored: 'f32' | 'f16') => {
    const { errors, tolerances } = await checkCase(device, operation, testCase, stored);
    expect(errors.forward).toBeLessThanOrEqual(tolerances.forward);
    for (const error of errors.gradients) expect(error).toBeLessThanOrEqual(tolerances.gradients);
  };
  const titled = (cases: readonly OperationCase<unknown>[]) =>
    cases.map((each) => [JSON.stringify(each), each] as const);

  test.each(titled(declaration.cases))('%s', (_title, testCase) => check(testCase, 'f32'));

  // Kernels are rewritten for f16 one like the other, and each compiles anew: two cases show whether this one can be.
  const storable = declaration.cases.filter(({ inputs }) => storableInputs(declaration, inputs).length > 0);
  test.each(titled(storable.slice(0, 2)))('f16 %s', (_title, testCase) => check(testCase, 'f16'));
});
