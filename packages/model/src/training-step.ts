import { capture, dropout, gradients, multiply, type randomState, type Tensor, zeros } from '@s3t/engine';
import type { LayerAdapter } from './adapter.ts';
import type { HostInputs, InputField, Inputs } from './architecture.ts';
import type { Batch } from './batches.ts';
import { copyInputs, fieldsAt, hostInputs, placeInputs, writeInputs } from './inputs.ts';
import type { BaseModel } from './model.ts';
import { type Objective, objectiveOf } from './objective.ts';
import type { Stage, StageForm } from './stage.ts';
import type { StageTask } from './stage-training.ts';

/** What the steps of a stage have in common, whatever the length of their rows. */
export interface StepParts {
  base: BaseModel;
  task: StageTask;
  stage: Stage;
  /** The frozen stages above: weights in place of the base's, and adapters beside them, by layer. */
  prefix: {
    merged: ReadonlyMap<number, ReadonlyMap<string, Tensor>>;
    adapters: ReadonlyMap<number, LayerAdapter>;
  };
  random: ReturnType<typeof randomState>;
  trained: readonly Tensor[];
  /** What the loss counts in its step, shape [1]; null: all. */
  share: Tensor | null;
  /** What is done with the gradients of the trained tensors. */
  finish: (gradients: readonly Tensor[]) => void;
}

/** Forward and backward for batches whose rows have one length, captured once. */
export class TrainingStep {
  readonly #task: StageTask;
  readonly #objective: Objective;
  /** Of the architecture's whole length, and cut to that of the rows. */
  readonly #fields: { whole: readonly InputField[]; cut: readonly InputField[] };
  readonly #labels: { whole: number; cut: number };
  readonly #inputs: { x: Tensor; carried: Inputs; labels: Tensor; weights: Tensor };
  readonly #host: {
    x: Float32Array<ArrayBuffer>;
    carried: HostInputs;
    labels: Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>;
    weights: Float32Array<ArrayBuffer>;
  };
  readonly #step: ReturnType<typeof capture<{ loss: Tensor }>>;

  /** @param tokens of each row */
  constructor({ base, task, stage, prefix, random, trained, share, finish }: StepParts, tokens: number) {
    const { device, network } = base;
    const { architecture } = network;
    const { batchSize } = task.training;
    const name = task.objective ?? 'classification';
    this.#task = task;
    const whole = architecture.inputs.filter(({ carried }) => carried);
    const cut = fieldsAt(whole, tokens);
    this.#fields = { whole, cut };
    this.#objective = objectiveOf(name, { tokens });
    this.#labels = { whole: objectiveOf(name, architecture).labels, cut: this.#objective.labels };
    const labels = batchSize * this.#objective.labels;
    const { dtype } = this.#objective;
    const inputs = {
      x: zeros(device, [batchSize, tokens, architecture.width]),
      carried: placeInputs(device, cut, batchSize),
      labels: zeros(device, [labels], { dtype }),
      weights: zeros(device, [labels]),
    };
    this.#inputs = inputs;
    this.#host = {
      x: new Float32Array(batchSize * tokens * architecture.width),
      carried: hostInputs(cut, batchSize),
      labels: dtype === 'u32' ? new Uint32Array(labels) : new Float32Array(labels),
      weights: new Float32Array(labels),
    };
    const lowest = task.from ?? Math.min(...task.layers);
    this.#step = capture(device, () => {
      let x: Tensor = inputs.x;
      for (let layer = lowest; layer < architecture.layers; layer++) {
        const own = withDropout(stage.adapters.get(layer), layer, task.form, random);
        const adapter = own ?? prefix.adapters.get(layer);
        x = network.layer(layer, x, { inputs: inputs.carried, adapter, merged: prefix.merged.get(layer) });
      }
      const mean = this.#objective.loss(network, x, stage.head, inputs.labels, inputs.weights);
      const loss = share ? multiply(mean, share) : mean;
      finish(gradients(loss, trained));
      return { loss };
    });
  }

  /** The loss of the last batch, by its share. */
  get loss(): Tensor {
    return this.#step.outputs.loss;
  }

  /** Writes a batch and computes it. Rows that are left over get weight zero. */
  run({ records }: Batch): void {
    this.#fill(records);
    this.#inputs.x.write(this.#host.x);
    writeInputs(this.#fields.cut, this.#host.carried, this.#inputs.carried);
    this.#inputs.labels.write(this.#host.labels);
    this.#inputs.weights.write(this.#host.weights);
    this.#step.replay();
  }

  dispose(): void {
    this.#step.dispose();
    const { carried, ...others } = this.#inputs;
    for (const tensor of [...Object.values(carried), ...Object.values(others)]) tensor.destroy();
  }

  #fill(records: readonly number[]): void {
    const { batchSize } = this.#task.training;
    const { x, carried, labels, weights } = this.#host;
    const rowSize = x.length / batchSize;
    const { whole, cut } = this.#labels;
    for (let row = 0; row < batchSize; row++) {
      const record = records[row];
      const target = x.subarray(row * rowSize, (row + 1) * rowSize);
      if (record === undefined) target.fill(0);
      else {
        this.#task.activation(record, target);
        // What a row of weight zero carries does not matter.
        const inputs = this.#task.inputs?.(record);
        if (inputs) copyInputs(this.#fields.whole, inputs, 0, 1, carried, row, this.#fields.cut);
      }
      for (let i = 0; i < cut; i++) {
        const of = record === undefined ? null : record * whole + i;
        labels[row * cut + i] = of === null ? 0 : this.#task.labels[of]!;
        weights[row * cut + i] = of === null ? 0 : (this.#task.weights?.[of] ?? 1);
      }
    }
  }
}

function withDropout(
  adapter: LayerAdapter | undefined,
  layer: number,
  { architecture, lora }: StageForm,
  random: ReturnType<typeof randomState>,
): LayerAdapter | undefined {
  if (!adapter || lora.dropout === 0) return adapter;
  const names = architecture.targets.map(({ name }) => name);
  return {
    ...adapter,
    dropout: (x, target) => dropout(x, random, lora.dropout, layer * names.length + names.indexOf(target)),
  };
}
