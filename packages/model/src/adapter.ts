// Linear layers and the low-rank changes on them (LoRA, Hu et al. 2021), as every architecture applies them.

import {
  add,
  cast,
  concat,
  gelu,
  groupedLoraLinear,
  keep,
  type LinearOptions,
  linear,
  loraLinear,
  matmul,
  reshape,
  scope,
  silu,
  type Tensor,
} from '@s3t/engine';
import { stored } from './half-activations.ts';

/** y = x W^T + b, with W [out, in] and b [out]; or with several W [groups, out, in], for as many equal parts of the batch. */
export interface LinearWeights {
  weight: Tensor;
  /** Null where the layer has none. */
  bias: Tensor | null;
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

/**
 * A linear layer with its adapter, if it has one: x W^T + b + scale (x A^T) B^T.
 * @param after what follows on it: in the same launch where there is no adapter
 */
export function adaptedLinear(
  base: LinearWeights,
  x: Tensor,
  target: string,
  adapter: LayerAdapter | undefined,
  after: LinearOptions = {},
): Tensor {
  const pair = adapter?.pairs[target];
  if (adapter && pair) return followed(changedLinear(base, x, target, adapter, pair), after);
  if (base.weight.shape.length === 3) return groupedLinear(base, x, after);
  return linear(x, base.weight, base.bias, after);
}

function followed(y: Tensor, { activation, residual }: LinearOptions): Tensor {
  const active = activation ? { gelu, silu }[activation](y) : y;
  return residual ? add(active, residual) : active;
}

function changedLinear(
  base: LinearWeights,
  x: Tensor,
  target: string,
  adapter: LayerAdapter,
  pair: LoraPair,
): Tensor {
  const { scale } = adapter;
  const adapted = adapter.dropout ? adapter.dropout(x, target) : x;
  if (pair.down.shape.length === 3) {
    const [groups, batch] = [pair.down.shape[0]!, x.shape[0]!];
    const inParts = (t: Tensor) => reshape(t, [groups, batch / groups, ...t.shape.slice(1)]);
    const parts = inParts(x);
    const seen = adapted === x ? parts : inParts(adapted);
    const y = groupedLoraLinear(parts, base.weight, base.bias, { ...pair, scale, adapted: seen });
    return reshape(y, [batch, ...y.shape.slice(2)]);
  }
  return loraLinear(x, base.weight, base.bias, { ...pair, scale, adapted });
}

/** A linear layer with a weight of its own [groups, out, in] for each of as many equal parts of the batch, side by side. */
function groupedLinear({ weight, bias }: LinearWeights, x: Tensor, after: LinearOptions): Tensor {
  const [groups, out, width] = weight.shape as [number, number, number];
  const parts = reshape(x, [groups, x.size / groups / width, width]);
  // Rounded once, like the sum of `linear`: the product of f16 would be rounded before its bias.
  const product = matmul(stored(parts, 'f32'), weight, { transposeB: true });
  const y = bias ? add(product, bias) : product;
  const rows = followed(reshape(y, [...x.shape.slice(0, -1), out]), after);
  return x.dtype === 'f16' ? cast(rows, 'f16') : rows;
}

/**
 * The adapters that several stacks have in one layer, as one for a batch of as many equal parts in their order. All have the
 * same targets and scale. They are copies: whoever asked for them destroys them.
 */
export function sideBySide(adapters: readonly LayerAdapter[]): LayerAdapter {
  const [{ pairs, scale }] = adapters as [LayerAdapter];
  const stacked = (target: string, part: keyof LoraPair): Tensor =>
    stackedConstant(adapters.map((adapter) => adapter.pairs[target]![part]));
  const targets = Object.keys(pairs).map(
    (target) => [target, { down: stacked(target, 'down'), up: stacked(target, 'up') }] as const,
  );
  return { pairs: Object.fromEntries(targets), scale };
}

/** Tensors of one shape as one, along a new first axis. */
export function stackedOf(tensors: readonly Tensor[]): Tensor {
  return concat(
    tensors.map((tensor) => reshape(tensor, [1, ...tensor.shape])),
    0,
  );
}

/** The same as a copy that is never written again, so that its texture form may be kept. Whoever asked for it destroys it. */
export function stackedConstant(tensors: readonly Tensor[]): Tensor {
  const result = scope(() => stackedOf(tensors));
  result.storage.constant = true;
  return keep(result);
}
