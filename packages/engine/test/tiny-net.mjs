// Trains a tiny net with the published engine and prints what came of it: run with plain Node or Deno in a folder that holds
// the packed packages and nothing else of this repository.
import {
  AdamW,
  capture,
  crossEntropy,
  Device,
  gelu,
  gradients,
  linear,
  scope,
  tensor,
  uniformValues,
  zeros,
} from '@s3t/engine';

const device = await Device.open();
const uniform = (shape, bound, stream) =>
  tensor(device, uniformValues(shape[0] * shape[1], bound, [1, 2], stream), shape, { trainable: true });
const weights = [
  uniform([16, 2], 1, 0),
  zeros(device, [16], { trainable: true }),
  uniform([2, 16], 0.3, 1),
  zeros(device, [2], { trainable: true }),
];
const [w1, b1, w2, b2] = weights;

// Exclusive or: no linear model learns it.
const x = tensor(device, [0, 0, 0, 1, 1, 0, 1, 1], [4, 2]);
const labels = tensor(device, Uint32Array.of(0, 1, 1, 0));
const rows = tensor(device, [1, 1, 1, 1]);
const optimiser = new AdamW(device, weights, { weightDecay: 0 });
const step = capture(device, () => {
  const loss = crossEntropy(linear(gelu(linear(x, w1, b1)), w2, b2), labels, rows);
  optimiser.apply(gradients(loss, weights));
  return { loss };
});
const losses = [];
for (let i = 0; i < 200; i++) {
  optimiser.begin(0.03);
  step.replay();
  if (i % 199 === 0) losses.push(await step.outputs.loss.item());
}
const predicted = scope(() => linear(gelu(linear(x, w1, b1)), w2, b2));
const logits = await predicted.read();
const classes = [0, 1, 2, 3].map((row) => (logits[2 * row] < logits[2 * row + 1] ? 1 : 0));
console.log(JSON.stringify({ adapterClass: device.adapterClass, losses, classes }));
device.close();
