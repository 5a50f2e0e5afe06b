import { type MockInstance, vi } from 'vitest';
import { Device } from '../index.ts';

/** Lets the device refuse buffers of the given size and usage, as it does where memory is short. */
export function refuse(device: Device, bytes: number, usage = 0x0080): MockInstance {
  const create = device.gpu.createBuffer.bind(device.gpu);
  return vi.spyOn(device.gpu, 'createBuffer').mockImplementation((descriptor) => {
    if (descriptor.size !== bytes || (descriptor.usage & usage) === 0) return create(descriptor);
    // Lavapipe takes no buffer of the whole limit, which is no multiple of its pages.
    const refused = create({ ...descriptor, size: device.gpu.limits.maxBufferSize });
    return Object.defineProperty(refused, 'size', { value: bytes });
  });
}

/** Whether there are buffers that this process's adapter refuses for want of memory. */
export async function refusesTheLimit(): Promise<boolean> {
  using device = await Device.open();
  device.gpu.pushErrorScope('out-of-memory');
  device.gpu.createBuffer({ size: device.gpu.limits.maxBufferSize, usage: 0x0080 }).destroy();
  return (await device.gpu.popErrorScope()) !== null;
}
