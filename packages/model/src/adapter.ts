// Linear layers and the low-rank changes on them (LoRA, Hu et al. 2021), as every architecture applies them.

import {
  concat,
  groupedLoraLinear,
  keep,
  linear,
  loraLinear,
  reshape,
  scope,
  type Tensor,
} from '@s3t/engine';

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

/**
 * The adapters that several stacks have in one layer, as one for a batch of as many equal parts in their order. All have the
 * same targets and scale. They are copies: whoever asked for them destroys them.
 */
export function sideBySide(adapters: readonly LayerAdapter[]): LayerAdapter {
  const [{ pairs, scale }] = adapters as [LayerAdapter];
  const stacked = (target: string, part: keyof LoraPair): Tensor => {
    const parts = adapters.map((adapter) => adapter.pairs[target]![part]);
    const result = scope(() =>
      concat(
        parts.map((each) => reshape(each, [1, ...each.shape])),
        0,
      ),
    );
    // It is never written again, so its texture form may be kept.
    result.storage.constant = true;
    return keep(result);
  };
  const targets = Object.keys(pairs).map(
    (target) => [target, { down: stacked(target, 'down'), up: stacked(target, 'up') }] as const,
  );
  return { pairs: Object.fromEntries(targets), scale };
}
