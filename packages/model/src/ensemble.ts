import { type Captured, capture, concat, keep, reshape, scope, slice, type Tensor, zeros } from '@s3t/engine';
import type { LayerAdapter, LoraPair } from './adapter.ts';
import { ModelError } from './errors.ts';
import type { BaseModel } from './model.ts';
import type { Stage } from './stage.ts';
import { classify, embed, encoderLayer, VIT_TARGETS } from './vit.ts';

/** The active prefix of one shard: its stages, top-down, with their layers. The last one's head answers. */
export interface EnsembleStack {
  shard: number;
  stages: readonly { layers: readonly number[]; stage: Stage }[];
}

/**
 * Batches are filled up to one of these sizes, each captured once. On a software adapter 64 pictures would keep the cores busy
 * for a tenth of a second, and whatever is urgent, an erasure for one, waits for what is under way.
 */
const BATCH_SIZES = { software: [1, 4, 16], portable: [1, 4, 16], gpu: [1, 4, 16, 64] } as const;

interface Plan {
  input: Tensor;
  step: Captured<Tensor>;
}

/**
 * All shards' stacks over one base, as served. Immutable: an erasure builds another. The trunk runs once; a shard's stream
 * leaves it at the shard's own deepest layer, and shards that are still bare share one stream. The others run side by side as
 * one batch: the base's products are shared, each part of the batch has its shard's adapter.
 */
export class Ensemble {
  readonly stacks: readonly EnsembleStack[];
  readonly #base: BaseModel;
  readonly #labels: number;
  readonly #plans: Map<number, Plan> = new Map();
  /** The adapters of a layer side by side, by layer: copies, made once. */
  readonly #sideBySide: Map<number, LayerAdapter> = new Map();
  #disposed = false;

  /** @param stacks those of shards that serve at least one stage */
  constructor(base: BaseModel, stacks: readonly EnsembleStack[], labels: number) {
    this.#base = base;
    this.stacks = stacks;
    this.#labels = labels;
  }

  get batchSizes(): readonly number[] {
    return BATCH_SIZES[this.#base.device.adapterClass];
  }

  get largestBatch(): number {
    return this.batchSizes.at(-1)!;
  }

  /**
   * The logits of every stack for up to `largestBatch` pictures.
   * @param pixels [count, channels, height, width]
   * @returns per stack, in their order: [count, labels]
   * @throws ModelError when the pictures do not fit, or once the ensemble is disposed
   */
  async forward(pixels: Float32Array, count: number): Promise<Float32Array[]> {
    if (this.#disposed) throw new ModelError('forward: the ensemble is disposed');
    const size = this.batchSizes.find((batch) => batch >= count);
    if (!size) throw new ModelError(`forward: ${count} pictures are more than ${this.largestBatch}`);
    const { num_channels: channels, image_size: side } = this.#base.config;
    if (pixels.length !== count * channels * side * side)
      throw new ModelError(
        `forward: ${pixels.length} values are not ${count} pictures [${channels}, ${side}, ${side}]`,
      );
    const { input, step } = this.#planFor(size);
    const padded = new Float32Array(input.size);
    padded.set(pixels);
    input.write(padded);
    step.replay();
    const logits = await step.outputs.read();
    const perStack = size * this.#labels;
    return this.stacks.map((_, i) => logits.slice(i * perStack, i * perStack + count * this.#labels));
  }

  /** Frees the captured plans, and zeroes the copies of adapters. The stages belong to whoever placed them. */
  dispose(): void {
    this.#disposed = true;
    for (const { pairs } of this.#sideBySide.values())
      for (const pair of Object.values(pairs)) {
        pair.down.destroy();
        pair.up.destroy();
      }
    this.#sideBySide.clear();
    for (const { input, step } of this.#plans.values()) {
      step.dispose();
      input.dispose();
    }
    this.#plans.clear();
  }

  #planFor(batch: number): Plan {
    const known = this.#plans.get(batch);
    if (known) return known;
    const { device, config } = this.#base;
    const input = zeros(device, [batch, config.num_channels, config.image_size, config.image_size]);
    const plan = { input, step: capture(device, () => this.#logits(input)) };
    this.#plans.set(batch, plan);
    return plan;
  }

  #logits(pictures: Tensor): Tensor {
    const { config, weights } = this.#base;
    const batch = pictures.shape[0]!;
    const top = config.num_hidden_layers - 1;
    let bare = embed(config, weights, pictures);
    // Side by side along the first axis, in the order in which they leave the trunk.
    const running: EnsembleStack[] = [];
    let streams: Tensor | null = null;
    for (let layer = 0; layer <= top; layer++) {
      const leaving = this.stacks.filter((stack) => lowestLayer(stack) === layer);
      running.push(...leaving);
      const parts: Tensor[] = [...(streams ? [streams] : []), ...leaving.map(() => bare)];
      if (parts.length > 0) {
        const adapter = this.#adapterOf(layer, running);
        const options = { adapter, onlyClassToken: layer === top };
        const x = parts.length === 1 ? parts[0]! : concat(parts, 0);
        streams = encoderLayer(config, weights.layers[layer]!, x, options);
      }
      if (running.length < this.stacks.length) bare = encoderLayer(config, weights.layers[layer]!, bare);
    }
    const logits = this.stacks.map((stack) => {
      const own = slice(streams!, 0, running.indexOf(stack) * batch, batch);
      return classify(config, weights, own, stack.stages.at(-1)!.stage.head);
    });
    return concat(logits, 0);
  }

  /** The adapters that some stacks have in a layer, side by side in their order. A single one stays as it is. */
  #adapterOf(layer: number, stacks: readonly EnsembleStack[]): LayerAdapter {
    const adapters = stacks.map((stack) => adapterAt(stack, layer));
    if (adapters.length === 1) return adapters[0]!;
    const known = this.#sideBySide.get(layer);
    if (known) return known;
    const { device } = this.#base;
    const stacked = (parts: readonly Tensor[]): Tensor =>
      device.outsideCapture(() => {
        const result = scope(() =>
          concat(
            parts.map((part) => reshape(part, [1, ...part.shape])),
            0,
          ),
        );
        // It is never written again, so its texture form may be kept.
        result.storage.constant = true;
        return keep(result);
      });
    const pairs: Record<string, LoraPair> = {};
    for (const target of VIT_TARGETS) {
      const own = adapters.flatMap((adapter) => adapter.pairs[target] ?? []);
      if (own.length === 0) continue;
      pairs[target] = { down: stacked(own.map(({ down }) => down)), up: stacked(own.map(({ up }) => up)) };
    }
    const adapter = { pairs, scale: adapters[0]!.scale };
    this.#sideBySide.set(layer, adapter);
    return adapter;
  }
}

function lowestLayer({ stages }: EnsembleStack): number {
  return Math.min(...stages.at(-1)!.layers);
}

/** Between its lowest layer and the top a stack has an adapter in every layer. */
function adapterAt({ stages }: EnsembleStack, layer: number): LayerAdapter {
  return stages.find(({ layers }) => layers.includes(layer))!.stage.adapters.get(layer)!;
}
