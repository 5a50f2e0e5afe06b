// Linear layers and the low-rank changes on them (LoRA, Hu et al. 2021), as every architecture applies them.

import { groupedLoraLinear, linear, loraLinear, reshape, type Tensor } from '@s3t/engine';

/** y = x W^T + b, with W [out, in] and b [out]. */
export interface LinearWeights {
  weight: Tensor;
  bias: Tensor;
}

/**
 * The low-rank change of one linear layer: A [rank, in] and B [out, rank]. Or those of several adapters, stacked along a
 * first axis: then the batch consists of as many equal parts, side by side, one for each.
 */
export interface LoraPair {
  down: Tensor;
  up: Tensor;
}

/** The adapters of one layer by target, and how they are applied. */
export interface LayerAdapter {
  pairs: Readonly<Record<string, LoraPair>>;
  scale: number;
  /** Applied to the input of every A while it is trained. */
  dropout?: (x: Tensor, target: string) => Tensor;
}

/** A linear layer with its adapter, if it has one: x W^T + b + scale (x A^T) B^T. */
export function adaptedLinear(
  base: LinearWeights,
  x: Tensor,
  target: string,
  adapter: LayerAdapter | undefined,
): Tensor {
  const pair = adapter?.pairs[target];
  if (!adapter || !pair) return linear(x, base.weight, base.bias);
  const { scale } = adapter;
  if (pair.down.shape.length === 3) {
    const [groups, batch] = [pair.down.shape[0]!, x.shape[0]!];
    const parts = reshape(x, [groups, batch / groups, ...x.shape.slice(1)]);
    const y = groupedLoraLinear(parts, base.weight, base.bias, { ...pair, scale });
    return reshape(y, [batch, ...y.shape.slice(2)]);
  }
  const adapted = adapter.dropout ? adapter.dropout(x, target) : x;
  return loraLinear(x, base.weight, base.bias, { ...pair, scale, adapted });
}
