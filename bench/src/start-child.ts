/** Opens the device, builds the ViT, captures its training step and runs it once; prints the milliseconds since the process began. */
import { capture, Device } from '@s3t/engine';
import { trainingStep } from './engines/s3t-nets.ts';

const device = await Device.open();
const { step, prepare } = trainingStep(device, 'vit', true);
const replayed = capture(device, step);
prepare();
replayed.replay();
await replayed.outputs.loss.read();
console.log(performance.now());
device.close();
