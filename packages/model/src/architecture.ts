// What stages, training and the ensemble know of an architecture. One file beside this one implements it for each.

import type { Tensor } from '@s3t/engine';
import type { LayerAdapter, LinearWeights } from './adapter.ts';

/** One value of a record, as a network takes it. */
export interface InputField {
  name: string;
  /** Of one record. */
  shape: readonly number[];
  dtype: 'f32' | 'u32';
  /** Whether layers read it, too (a mask), and not only the embedding. */
  carried: boolean;
  /** Whether it is one value for each token: it may be cut to the length of a batch. */
  perToken?: boolean;
}

/** The inputs of some records on the host, by name: one record after the other. */
export type HostInputs = Readonly<Record<string, Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>>>;

/** The inputs of a batch on a device, by name: [batch, ...shape]. */
export type Inputs = Readonly<Record<string, Tensor>>;

/** A linear layer that an adapter may stand on. */
export interface AdapterTarget {
  /** As users of PEFT write it. */
  name: string;
  /** Its path within a layer. */
  module: string;
  inputs: number;
  outputs: number;
}

/** A tensor of a head. What is no bias starts at random, biases start at zero. */
export interface HeadParameter {
  name: string;
  shape: readonly number[];
}

/** The tensors of a stage's head by their names. */
export type Head = Readonly<Record<string, Tensor>>;

/** The shapes of a base model, without its weights. */
export interface Architecture {
  layers: number;
  /** The values of a token between layers. */
  width: number;
  /** The tokens of a record. */
  tokens: number;
  inputs: readonly InputField[];
  /** In the order in which a layer computes them. */
  targets: readonly AdapterTarget[];
  /** The name of a layer's module in the checkpoint, without that of the layer's parts: "vit.encoder.layer.3". */
  layerModule(layer: number): string;
  /** The tensors of a head with `outputs` numbers, by their names in the checkpoint. */
  headParameters(outputs: number): readonly HeadParameter[];
}

/** How one layer is computed. */
export interface LayerOptions {
  /** Those that are carried, for the rows of x. */
  inputs: Inputs;
  adapter?: LayerAdapter | undefined;
  /** Weights [out, in] to use instead of the base's own, by target. */
  merged?: ReadonlyMap<string, Tensor> | undefined;
}

/** A base model's weights on a device, and how they are computed with. Layers count from 0 at the bottom. */
export interface Network {
  readonly architecture: Architecture;
  /** The base's own weights of a target. */
  linearOf(layer: number, target: string): LinearWeights;
  /** @returns what enters layer 0: [batch, tokens, width] */
  embed(inputs: Inputs): Tensor;
  /** @returns what leaves a layer: [batch, tokens, width]; of the top layer perhaps only the tokens that the head reads */
  layer(index: number, x: Tensor, options: LayerOptions): Tensor;
  /** @returns from what leaves the top layer, [batch, outputs]; of a language model [batch, tokens, vocabulary] */
  logits(top: Tensor, head: Head): Tensor;
  /**
   * Of a language model: the mean cross-entropy of every token's next one, by weights.
   * @param labels u32 [batch * tokens]
   * @param weights f32 [batch * tokens]
   */
  tokenLoss?(top: Tensor, labels: Tensor, weights: Tensor): Tensor;
}

/** What a LayerNorm scales and shifts by. */
export interface NormWeights {
  weight: Tensor;
  bias: Tensor;
}

/** A layer's weights, some of them replaced. */
export function withMerged<Layer extends object>(
  layer: Layer,
  merged: ReadonlyMap<string, Tensor> | undefined,
  keyOf: (target: string) => keyof Layer,
): Layer {
  if (!merged?.size) return layer;
  const changed = { ...layer };
  for (const [target, weight] of merged) {
    const key = keyOf(target);
    changed[key] = { ...(layer[key] as LinearWeights), weight } as Layer[keyof Layer];
  }
  return changed;
}
