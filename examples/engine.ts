import { AdamW, capture, crossEntropy, Device, gradients, linear, tensor, zeros } from '@s3t/engine';

// 256 noisy points of 4 classes: each class is bright in one quarter of the 16 values.
const [rows, width, classes] = [256, 16, 4];
const points = Float32Array.from({ length: rows * width }, (_, i) => {
  const [row, column] = [Math.floor(i / width), i % width];
  return Math.random() + (column % classes === row % classes ? 0.5 : 0);
});
const classOf = Uint32Array.from({ length: rows }, (_, row) => row % classes);

const device = await Device.open();
const x = tensor(device, points, [rows, width]);
const labels = tensor(device, classOf);
const rowWeights = tensor(device, new Float32Array(rows).fill(1)); // 0 leaves a row out
const weight = zeros(device, [classes, width], { trainable: true });
const bias = zeros(device, [classes], { trainable: true });
const optimiser = new AdamW(device, [weight, bias]);
const step = capture(device, () => {
  const loss = crossEntropy(linear(x, weight, bias), labels, rowWeights);
  optimiser.apply(gradients(loss, [weight, bias]));
  return { loss };
});
for (let done = 0; done <= 100; done++) {
  optimiser.begin(0.05); // the learning rate of this step
  step.replay();
  if (done % 20 === 0) console.log(`step ${done}: loss ${(await step.outputs.loss.item()).toFixed(4)}`);
}
device.close();
