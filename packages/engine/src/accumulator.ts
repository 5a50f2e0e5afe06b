import type { Device } from './device.ts';
import { gridOf } from './operation.ts';
import { checkFloats, checkGradients, checkParameters } from './optimiser-checks.ts';
import { type Tensor, zeros } from './tensor.ts';

/**
 * Sums of gradients over micro-batches, for batches that do not fit the device at once. The sums lie in buffers of their own
 * and grow in the order of the calls, so both halves of the pattern may be captured and replayed:
 *
 * @example
 * const sums = new GradientAccumulator(device, parameters);
 * const half = capture(device, () => {
 *   // Each micro-batch counts by its share of the batch: here all are alike.
 *   sums.add(gradients(affine(crossEntropy(model(x), labels, weights), 1 / 2), parameters));
 * });
 * const update = capture(device, () => {
 *   optimiser.apply(sums.gradients);
 *   sums.clear();
 * });
 * for (const batch of microBatches) { upload(batch); half.replay(); }
 * optimiser.begin(rate);
 * update.replay();
 */
export class GradientAccumulator {
  /** The sums so far, in the order of the parameters. */
  readonly gradients: readonly Tensor[];
  readonly #device: Device;

  constructor(device: Device, parameters: readonly Tensor[]) {
    checkParameters('GradientAccumulator', device, parameters);
    this.#device = device;
    this.gradients = parameters.map(({ shape }) => zeros(device, shape));
  }

  /** Adds one gradient for each parameter. @throws ShapeError, EngineError when they do not fit the parameters */
  add(gradients: readonly Tensor[]): void {
    checkFloats('GradientAccumulator', 'sum', this.#device, this.gradients);
    checkGradients('GradientAccumulator', this.#device, gradients, this.gradients);
    this.gradients.forEach((sum, index) => {
      sum.device.dispatch('optimiser/accumulate', {
        bindings: [gradients[index]!.storage, sum.storage],
        writes: [1],
        workgroups: gridOf(sum.storage.bytes / 16),
      });
    });
  }

  /** Starts the next batch from zero. */
  clear(): void {
    for (const { device, storage } of this.gradients) device.run({ kind: 'clear', target: storage });
  }

  /** Frees the sums, zeroed: they are learnt from the data. */
  dispose(): void {
    for (const sum of this.gradients) sum.destroy();
  }
}
