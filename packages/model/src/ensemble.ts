import { type Captured, capture, concat, type Tensor, zeros } from '@s3t/engine';
import { ModelError } from './errors.ts';
import type { BaseModel } from './model.ts';
import type { Stage } from './stage.ts';
import { classify, embed, encoderLayer } from './vit.ts';

/** The active prefix of one shard: its stages, top-down, with their layers. The last one's head answers. */
export interface EnsembleStack {
  shard: number;
  stages: readonly { layers: readonly number[]; stage: Stage }[];
}

/** Batches are filled up to one of these sizes, each captured once. */
const BATCH_SIZES = [1, 4, 16, 64] as const;

interface Plan {
  input: Tensor;
  step: Captured<Tensor>;
}

/**
 * All shards' stacks over one base, as served. Immutable: an erasure builds another. The trunk runs once; a shard's stream
 * leaves it at the shard's own deepest layer, and shards that are still bare share one stream.
 */
export class Ensemble {
  readonly stacks: readonly EnsembleStack[];
  readonly #base: BaseModel;
  readonly #labels: number;
  readonly #plans: Map<number, Plan> = new Map();
  #disposed = false;

  /** @param stacks those of shards that serve at least one stage */
  constructor(base: BaseModel, stacks: readonly EnsembleStack[], labels: number) {
    this.#base = base;
    this.stacks = stacks;
    this.#labels = labels;
  }

  get largestBatch(): number {
    return BATCH_SIZES.at(-1)!;
  }

  /**
   * The logits of every stack for up to `largestBatch` pictures.
   * @param pixels [count, channels, height, width]
   * @returns per stack, in their order: [count, labels]
   * @throws ModelError when the pictures do not fit, or once the ensemble is disposed
   */
  async forward(pixels: Float32Array, count: number): Promise<Float32Array[]> {
    if (this.#disposed) throw new ModelError('forward: the ensemble is disposed');
    const size = BATCH_SIZES.find((batch) => batch >= count);
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

  /** Frees the captured plans. The stages belong to whoever placed them. */
  dispose(): void {
    this.#disposed = true;
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
    const top = config.num_hidden_layers - 1;
    let bare = embed(config, weights, pictures);
    const streams = new Map<EnsembleStack, Tensor>();
    for (let layer = 0; layer <= top; layer++) {
      const onlyClassToken = layer === top;
      for (const stack of this.stacks) if (lowestLayer(stack) === layer) streams.set(stack, bare);
      for (const [stack, x] of streams) {
        const adapter = adapterAt(stack, layer);
        streams.set(stack, encoderLayer(config, weights.layers[layer]!, x, { adapter, onlyClassToken }));
      }
      if (streams.size < this.stacks.length) bare = encoderLayer(config, weights.layers[layer]!, bare);
    }
    const logits = this.stacks.map((stack) =>
      classify(config, weights, streams.get(stack)!, stack.stages.at(-1)!.stage.head),
    );
    return concat(logits, 0);
  }
}

function lowestLayer({ stages }: EnsembleStack): number {
  return Math.min(...stages.at(-1)!.layers);
}

function adapterAt({ stages }: EnsembleStack, layer: number) {
  return stages.find(({ layers }) => layers.includes(layer))?.stage.adapters.get(layer);
}
