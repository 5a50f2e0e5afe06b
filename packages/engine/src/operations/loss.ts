import { NUMBERS } from '../data-type.ts';
import { ShapeError } from '../errors.ts';
import { gridOf, operation } from '../operation.ts';
import { empty, type Tensor } from '../tensor.ts';
import { divide } from './arithmetic.ts';
import { sum } from './reduce.ts';

/** Writes sum(losses) / sum(weights), where losses are weighted already, into `output`. @returns the sum of the weights, [1] */
export function weightedMean(losses: Tensor, weights: Tensor, output: Tensor): Tensor {
  const totalWeight = sum(weights.detach(), 0, true);
  const mean = divide(sum(losses, 0, true), totalWeight);
  output.device.run({
    kind: 'copy',
    source: mean.storage,
    sourceOffset: 0,
    target: output.storage,
    targetOffset: 0,
    bytes: 4,
  });
  return totalWeight;
}

const applyCrossEntropy = operation<void>({
  name: 'crossEntropy',
  summary: 'weighted mean over rows of -log softmax(logits)[label]',
  dtypes: [NUMBERS, 'u32', 'f32'],
  result: 'f32',
  shape: ([logits, labels, weights]) => {
    if (logits!.length !== 2)
      throw new ShapeError(`crossEntropy: logits [${logits}] must be [rows, classes]`);
    for (const shape of [labels!, weights!])
      if (shape.join() !== `${logits![0]}`)
        throw new ShapeError(`crossEntropy: [${shape}] does not fit the rows, axis 0, of logits [${logits}]`);
    return [1];
  },
  forward: ({ inputs: [logits, labels, weights], output }) => {
    const [rows, classes] = logits!.shape as [number, number];
    const losses = empty(logits!.device, [rows]);
    logits!.device.dispatch('loss/cross_entropy', {
      bindings: [logits!.storage, labels!.storage, weights!.storage, losses.storage],
      params: Uint32Array.of(rows, classes, 0, 0),
      writes: [3],
      workgroups: gridOf(rows, 8),
    });
    return [weightedMean(losses, weights!, output)];
  },
  gradient: ({ inputs: [logits, labels, weights], saved: [totalWeight], gradient }) => {
    const [rows, classes] = logits!.shape as [number, number];
    const dx = empty(logits!.device, logits!.shape);
    logits!.device.dispatch('loss/cross_entropy_backward', {
      bindings: [logits!, labels!, weights!, totalWeight!, gradient, dx].map((tensor) => tensor.storage),
      params: Uint32Array.of(rows, classes, 0, 0),
      writes: [5],
      workgroups: gridOf(rows, 8),
    });
    return [dx, null, null];
  },
  reference: ([logits, labels, weights]) => {
    const [rows, classes] = logits!.shape as [number, number];
    let loss = 0;
    for (let r = 0; r < rows; r++) {
      const row = logits!.data.subarray(r * classes, (r + 1) * classes);
      const largest = Math.max(...row);
      const total = row.reduce((a, value) => a + Math.exp(value - largest), 0);
      loss += weights!.data[r]! * (Math.log(total) + largest - row[labels!.data[r]!]!);
    }
    return Float64Array.of(loss / weights!.data.reduce((a, b) => a + b, 0));
  },
  frozen: [2],
  cases: [
    {
      inputs: [[5, 10], { shape: [5], below: 10 }, { shape: [5], positive: true }],
      attributes: undefined,
    },
    { inputs: [[1, 3], { shape: [1], below: 3 }, { shape: [1], positive: true }], attributes: undefined },
  ],
});

/**
 * The mean of -log softmax(logits)[label] over rows, weighted by `weights` (0 leaves a padded row out).
 * @param logits [rows, classes] @param labels u32 [rows], each below `classes`: labels are on the device, where nothing checks them,
 *   and one past the end counts as the last class @param weights [rows] @returns shape [1]
 */
export function crossEntropy(logits: Tensor, labels: Tensor, weights: Tensor): Tensor {
  return applyCrossEntropy([logits, labels, weights], undefined);
}
