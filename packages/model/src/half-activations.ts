import { cast, type Tensor } from '@s3t/engine';
import type { Network } from './architecture.ts';

/** What holds the values that layers hand on. Parameters, gradients and whatever is computed from values stay f32. */
export type ActivationType = 'f32' | 'f16';

/**
 * A network whose layers store what they compute as f16, each value rounded once: a step keeps half the bytes for its backward pass. The
 * embedding and the head compute in f32. What enters a layer may come as f32 from where it was kept: it is what f16 holds, and stays so.
 */
export function withHalfActivations(network: Network): Network {
  const { tokenLoss } = network;
  return {
    ...network,
    embed: (inputs) => stored(network.embed(inputs), 'f16'),
    layer: (index, x, options) => network.layer(index, stored(x, 'f16'), options),
    logits: (top, head) => network.logits(stored(top, 'f32'), head),
    ...(tokenLoss && {
      tokenLoss: (top: Tensor, labels: Tensor, weights: Tensor) =>
        tokenLoss(stored(top, 'f32'), labels, weights),
    }),
  };
}

/** `x` as a type holds it: itself where it is of that type. */
export function stored(x: Tensor, dtype: ActivationType): Tensor {
  return x.dtype === dtype ? x : cast(x, dtype);
}
