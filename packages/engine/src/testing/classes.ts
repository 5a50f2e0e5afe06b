import { type AdapterClass, Device } from '../index.ts';

/** A device that chooses the kernels of a class; null if the adapter lacks the subgroups that those of `software` need. */
export async function openAs(adapterClass: AdapterClass): Promise<Device | null> {
  const device = await Device.open();
  if (adapterClass === 'software' && device.adapterClass !== 'software') {
    device.close();
    return null;
  }
  Object.defineProperty(device, 'adapterClass', { value: adapterClass });
  return device;
}
