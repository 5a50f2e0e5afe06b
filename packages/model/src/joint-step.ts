// One step of several stages of the same layers. The rows of all of them are one batch: what is the base's own is computed once for all
// rows, what is a stage's own for its part. A row of a product has the same bits in any batch, and whatever is summed over rows (gradients
// of A, B and head, the loss) is summed within a part, in the order it would have alone: a stage gets the bytes that it gets by itself.

import {
  add,
  type Captured,
  capture,
  concat,
  dropout,
  expand,
  gradients,
  multiply,
  type randomState,
  reshape,
  slice,
  type Tensor,
  zeros,
} from '@s3t/engine';
import { type LayerAdapter, type LoraPair, stackedConstant, stackedOf } from './adapter.ts';
import { HostBatch } from './host-batch.ts';
import type { BaseModel } from './model.ts';
import { objectiveOf } from './objective.ts';
import type { Owned } from './owned.ts';
import type { PlacedPrefix } from './placed-prefix.ts';
import type { Stage } from './stage.ts';
import type { StageTask } from './stage-training.ts';
import { dropoutStream } from './training-step.ts';

/** A stage on the device, as a joint step computes it. */
export interface JointPart {
  task: StageTask;
  stage: Stage;
  prefix: PlacedPrefix;
  random: ReturnType<typeof randomState>;
  trained: readonly Tensor[];
}

/** Forward and backward for the batches of several stages, captured once. */
export class JointStep {
  readonly #parts: readonly JointPart[];
  readonly #batch: HostBatch;
  readonly #step: Captured<{ losses: Tensor[]; gradients: Tensor[] }>;
  readonly #owned: Owned;

  /** @param tokens of each row @param owned takes what lies on the device */
  constructor(base: BaseModel, parts: readonly JointPart[], tokens: number, owned: Owned) {
    const { device, network } = base;
    const { layers } = network.architecture;
    const [{ task }] = parts as [JointPart];
    const rows = task.training.batchSize;
    const name = task.objective ?? 'classification';
    const objective = objectiveOf(name, { tokens });
    this.#parts = parts;
    this.#owned = owned;
    const batch = owned.add(
      new HostBatch(base, { objective: name, parts: parts.length, rows, tokens }),
      (placed) => placed.destroy(),
    );
    this.#batch = batch;
    const lowest = task.from ?? Math.min(...task.layers);
    const above = Array.from({ length: layers }, (_, layer) => this.#above(layer));
    const ones = owned.add(zeros(device, [1]), (made) => made.destroy());
    ones.write(Float32Array.of(1));
    const step = capture(device, () => {
      let { x } = batch;
      for (let layer = lowest; layer < layers; layer++) {
        const adapter = this.#adapterOf(layer, ones);
        x = network.layer(layer, x, { inputs: batch.carried, adapter, merged: above[layer] });
      }
      const losses = parts.map(({ stage }, part) => {
        const top = slice(x, 0, part * rows, rows);
        const { labels, weights } = batch.parts[part]!;
        return objective.loss(network, top, stage.head, labels, weights);
      });
      const found = gradients(
        losses.reduce((sum, loss) => add(sum, loss)),
        parts.flatMap(({ trained }) => trained),
      );
      return { losses, gradients: found };
    });
    this.#step = owned.add(step, (captured) => captured.dispose());
  }

  /** The loss of a part's last batch. */
  loss(part: number): Tensor {
    return this.#step.outputs.losses[part]!;
  }

  /** The gradients of a part's trained tensors, in their order; after the first replay. */
  gradients(part: number): Tensor[] {
    const before = this.#parts.slice(0, part).reduce((sum, { trained }) => sum + trained.length, 0);
    return this.#step.outputs.gradients.slice(before, before + this.#parts[part]!.trained.length);
  }

  /** Fills one part's rows. A part that is not filled again computes what it did before. */
  fill(part: number, records: readonly number[]): void {
    this.#batch.fill(part, this.#parts[part]!.task, records);
  }

  run(): void {
    this.#batch.write();
    this.#step.replay();
  }

  /** The weights of the frozen stages above that take the place of the base's, stacked: [parts, out, in], by target. */
  #above(layer: number): Map<string, Tensor> | undefined {
    const each = this.#parts.map(({ prefix }) => prefix.merged.get(layer));
    const [first] = each;
    if (!first) return undefined;
    const stacked = new Map<string, Tensor>();
    for (const target of first.keys()) {
      const weight = stackedConstant(each.map((merged) => merged!.get(target)!));
      stacked.set(
        target,
        this.#owned.add(weight, (made) => made.destroy()),
      );
    }
    return stacked;
  }

  /** The adapters of one layer side by side: those that learn, or frozen ones beside a quantised base. */
  #adapterOf(layer: number, ones: Tensor): LayerAdapter | undefined {
    const learning = this.#parts.map(({ stage }) => stage.adapters.get(layer));
    const found = learning[0] ? learning : this.#parts.map(({ prefix }) => prefix.adapters.get(layer));
    const [first] = found;
    if (!first) return undefined;
    const stack = (target: string, part: keyof LoraPair) =>
      stackedOf(found.map((adapter) => adapter!.pairs[target]![part]));
    const pairs = Object.fromEntries(
      Object.keys(first.pairs).map((target) => [
        target,
        { down: stack(target, 'down'), up: stack(target, 'up') },
      ]),
    );
    const [{ task }] = this.#parts as [JointPart];
    const rate = task.form.lora.dropout;
    if (!learning[0] || rate === 0) return { pairs, scale: first.scale };
    const masked = (x: Tensor, target: string): Tensor => {
      // The mask of each part is drawn as it would be alone. It is what dropout makes of ones: no gradient has to be cut into parts.
      const shape = [x.shape[0]! / this.#parts.length, ...x.shape.slice(1)];
      const one = expand(
        reshape(
          ones,
          shape.map(() => 1),
        ),
        shape,
      );
      const masks = this.#parts.map(({ random }) =>
        dropout(one, random, rate, dropoutStream(task.form, layer, target)),
      );
      return multiply(x, concat(masks, 0));
    };
    return { pairs, scale: first.scale, dropout: masked };
  }
}
