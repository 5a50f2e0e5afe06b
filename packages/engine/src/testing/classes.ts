import { Device } from '../index.ts';

/** The classes whose kernels this adapter runs: `software` is tried first, any adapter runs what is `portable`. */
export const TESTED_CLASSES = ['software', 'portable'] as const;

/** A device that chooses the kernels of a class; null if the adapter cannot run them. */
export async function openAs(adapterClass: (typeof TESTED_CLASSES)[number]): Promise<Device | null> {
  const device = await Device.open();
  if (adapterClass === 'software' && device.adapterClass !== 'software') {
    device.close();
    return null;
  }
  Object.defineProperty(device, 'adapterClass', { value: adapterClass });
  return device;
}
