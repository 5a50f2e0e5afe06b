import { concat, fill } from './operations/layout.ts';
import { sumOfSquares } from './operations/reduce.ts';
import type { Tensor } from './tensor.ts';

/**
 * The factor [1] that scales gradients down to the norm `limit` over all of them, 1 if they are within it: PyTorch's
 * `clip_grad_norm_`. The squares are summed tensor by tensor in the order given.
 */
export function clipFactor(gradients: readonly Tensor[], limit: number): Tensor {
  const sums = concat(gradients.map(sumOfSquares), 0);
  const factor = fill(sums.device, [1], 1);
  sums.device.dispatch('optimiser/clip_factor', {
    bindings: [sums.storage, factor.storage],
    params: Uint32Array.of(sums.size, new Uint32Array(new Float32Array([limit]).buffer)[0]!, 0, 0),
    writes: [1],
    workgroups: [1, 1, 1],
  });
  return factor;
}
