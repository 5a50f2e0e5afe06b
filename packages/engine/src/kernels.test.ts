import { sources } from '@s3t/kernels';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Device } from './index.ts';

let device: Device;
beforeAll(async () => {
  device = await Device.open();
});
afterAll(() => device.close());

test.each(Object.keys(sources))('%s is valid WGSL as it stands', async (name) => {
  const module = device.gpu.createShaderModule({ code: sources[name]! });
  const { messages } = await module.getCompilationInfo();
  expect(
    messages.filter(({ type }) => type === 'error').map(({ lineNum, message }) => `${lineNum}: ${message}`),
  ).toEqual([]);
});
