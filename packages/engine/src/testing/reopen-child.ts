import { affine, Device, tensor } from '../index.ts';

// Opens and closes devices while another lives, with the collector running between: this once crashed the process.
const collect = (globalThis as { gc?: () => void }).gc!;
using main = await Device.open();
for (let round = 0; round < 12; round++) {
  const device = await Device.open();
  const y = affine(tensor(device, [1, 2, 3]), 2);
  if (round % 2 === 0) await y.read();
  device.close();
  collect();
  if (round % 3 === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  collect();
  using probe = affine(tensor(main, [round]), 2);
  if ((await probe.item()) !== 2 * round) throw new Error(`round ${round}: a wrong value`);
}
process.stdout.write('alive');
