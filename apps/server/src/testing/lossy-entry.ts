// Holds a run for its parent as child/entry.ts does, and loses its device on SIGUSR2.
import { Device } from '@s3t/engine';
import { Unlearner } from '@s3t/unlearner';
import { holdForParent } from '../child/hold-for-parent.ts';

await holdForParent(async (options) => {
  const device = await Device.open();
  process.once('SIGUSR2', () => device.gpu.destroy());
  return Unlearner.open({ ...options, device });
});
