import { Device } from '@s3t/engine';
import { afterAll, beforeAll } from 'vitest';

/** One device for the tests of a file: opening runs with it compiles nothing twice. */
export function sharedDevice(): () => Device {
  let device: Device | null = null;
  beforeAll(async () => {
    device = await Device.open();
  });
  afterAll(() => device?.close());
  return () => device!;
}
