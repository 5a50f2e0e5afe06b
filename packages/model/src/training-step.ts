import { capture, dropout, gradients, multiply, type randomState, type Tensor } from '@s3t/engine';
import type { LayerAdapter } from './adapter.ts';
import type { Batch } from './batches.ts';
import { HostBatch } from './host-batch.ts';
import type { BaseModel } from './model.ts';
import { objectiveOf } from './objective.ts';
import type { Owned } from './owned.ts';
import type { PlacedPrefix } from './placed-prefix.ts';
import type { Stage, StageForm } from './stage.ts';
import type { StageTask } from './stage-training.ts';

/** What the steps of a stage have in common, whatever the length of their rows. */
export interface StepParts {
  base: BaseModel;
  task: StageTask;
  stage: Stage;
  prefix: PlacedPrefix;
  random: ReturnType<typeof randomState>;
  trained: readonly Tensor[];
  /** What the loss counts in its step, shape [1]; null: all. */
  share: Tensor | null;
  /** What is done with the gradients of the trained tensors. */
  finish: (gradients: readonly Tensor[]) => void;
  /** Takes what a step holds on the device. */
  owned: Owned;
}

/** Forward and backward for batches whose rows have one length, captured once. */
export class TrainingStep {
  readonly #task: StageTask;
  readonly #batch: HostBatch;
  readonly #step: ReturnType<typeof capture<{ loss: Tensor }>>;

  /** @param tokens of each row */
  constructor(parts: StepParts, tokens: number) {
    const { base, task, stage, prefix, random, trained, share, finish, owned } = parts;
    const { device, network } = base;
    const { layers } = network.architecture;
    const name = task.objective ?? 'classification';
    const objective = objectiveOf(name, { tokens });
    const batch = owned.add(
      new HostBatch(base, { objective: name, parts: 1, rows: task.training.batchSize, tokens }),
      (placed) => placed.destroy(),
    );
    const { labels, weights } = batch.parts[0]!;
    this.#task = task;
    this.#batch = batch;
    const lowest = task.from ?? Math.min(...task.layers);
    const step = capture(device, () => {
      let { x } = batch;
      for (let layer = lowest; layer < layers; layer++) {
        const own = withDropout(stage.adapters.get(layer), layer, task.form, random);
        const adapter = own ?? prefix.adapters.get(layer);
        x = network.layer(layer, x, { inputs: batch.carried, adapter, merged: prefix.merged.get(layer) });
      }
      const mean = objective.loss(network, x, stage.head, labels, weights);
      const loss = share ? multiply(mean, share) : mean;
      finish(gradients(loss, trained));
      return { loss };
    });
    this.#step = owned.add(step, (captured) => captured.dispose());
  }

  /** The loss of the last batch, by its share. */
  get loss(): Tensor {
    return this.#step.outputs.loss;
  }

  /** Writes a batch and computes it. */
  run({ records }: Batch): void {
    this.#batch.fill(0, this.#task, records);
    this.#batch.write();
    this.#step.replay();
  }
}

function withDropout(
  adapter: LayerAdapter | undefined,
  layer: number,
  form: StageForm,
  random: ReturnType<typeof randomState>,
): LayerAdapter | undefined {
  const rate = form.lora.dropout;
  if (!adapter || rate === 0) return adapter;
  return { ...adapter, dropout: (x, target) => dropout(x, random, rate, dropoutStream(form, layer, target)) };
}

/** The stream that masks of a target are drawn from, within a step of a stage. */
export function dropoutStream({ architecture }: StageForm, layer: number, target: string): number {
  const names = architecture.targets.map(({ name }) => name);
  return layer * names.length + names.indexOf(target);
}
