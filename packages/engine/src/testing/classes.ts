import { type AdapterClass, Device } from '../index.ts';

/** A device that chooses the kernels of a class; null if the adapter lacks the subgroups that those of `software` need. */
export async function openAs(adapterClass: AdapterClass): Promise<Device | null> {
  const device = await Device.open();
  if (device.adapterClass === adapterClass) return device;
  device.close();
  return adapterClass === 'software' ? null : Device.open({ adapterClass, selfCheck: false });
}
