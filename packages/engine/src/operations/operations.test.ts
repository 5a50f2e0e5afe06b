import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Device, operations } from '../index.ts';
import { checkCase } from '../testing/check-case.ts';

let device: Device;
beforeAll(async () => {
  device = await Device.open();
});
afterAll(() => device.close());

describe.each([...operations])('%s', (_name, operation) => {
  test.each(operation.declaration.cases.map((c) => [JSON.stringify(c), c] as const))(
    '%s',
    async (_title, testCase) => {
      const { errors, tolerances } = await checkCase(device, operation, testCase);
      expect(errors.forward).toBeLessThanOrEqual(tolerances.forward);
      for (const error of errors.gradients) expect(error).toBeLessThanOrEqual(tolerances.gradients);
    },
  );
});
