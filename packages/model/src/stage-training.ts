import {
  AdamW,
  capture,
  dropout,
  gradients,
  learningRateAt,
  mergeLora,
  type RandomKey,
  randomState,
  type ScheduleName,
  scope,
  type Tensor,
  zeros,
} from '@s3t/engine';
import type { LayerAdapter } from './adapter.ts';
import type { HostInputs, InputField } from './architecture.ts';
import { ModelError } from './errors.ts';
import { copyInputs, hostInputs, placeInputs, writeInputs } from './inputs.ts';
import type { BaseModel } from './model.ts';
import { type ObjectiveName, objectiveOf } from './objective.ts';
import { placeStage, type StageForm, type StageValues, startStage } from './stage.ts';

/** How a stage is trained; names as in the configuration file. */
export interface TrainingConfig {
  epochs: number;
  batchSize: number;
  learningRate: number;
  weightDecay: number;
  schedule: ScheduleName;
  /** Part of the steps over which the rate rises, 0 to 1. */
  warmup: number;
  /** Gradients are scaled down to this norm; null leaves them. */
  clipNorm: number | null;
}

/** A stage of the prefix below which the new one is trained: its layers and values. */
export interface FrozenStage {
  layers: readonly number[];
  values: ReadonlyMap<string, Float32Array<ArrayBuffer>>;
}

export interface StageTask {
  form: StageForm;
  /** Default: classification. */
  objective?: ObjectiveName;
  training: TrainingConfig;
  /** Keys everything random in the stage. */
  key: RandomKey;
  /** The layers of the group to train. */
  layers: readonly number[];
  /** The stages above, top-down: loaded and frozen. */
  prefix: readonly FrozenStage[];
  /** How many records there are. */
  records: number;
  /** Awaited before the activations of a batch are copied. */
  prepare?: (records: readonly number[]) => Promise<void>;
  /** Copies what enters the lowest trained layer for a record, [tokens * width]. */
  /** The layer that activations enter; those from it to the lowest trained one run bare in every step. Default: the lowest trained one. */
  from?: number;
  /** Copies what enters layer `from` for a record, [tokens * width]. */
  activation: (record: number, target: Float32Array) => void;
  /** The inputs of a record that layers read, if the architecture has any. */
  inputs?: (record: number) => HostInputs;
  /** What is to be learnt of each record, one after the other: classes, numbers, or every token's next one. */
  labels: ArrayLike<number>;
  /** How much each label counts. Default: 1. */
  weights?: ArrayLike<number>;
  /** The order of the records in an epoch. */
  order: (epoch: number) => ArrayLike<number>;
  /** Steps from one reading of the loss to the next: each waits for the device. Default: 10. */
  lossEvery?: number;
  /** Awaited before each step: what is more urgent goes first. */
  turn?: () => Promise<void>;
}

export interface StageProgress {
  step: number;
  steps: number;
  /** The loss of this step where it was read back, else null. */
  loss: number | null;
}

/** Steps a stage takes. */
export function stageSteps(
  records: number,
  { epochs, batchSize }: Pick<TrainingConfig, 'epochs' | 'batchSize'>,
): number {
  return epochs * Math.ceil(records / batchSize);
}

/**
 * Trains one stage and returns its values. Nothing but the task decides the bytes. The last batch of an epoch is filled up
 * with rows of weight zero, so that every step has the same shape and is captured once.
 * @throws ModelError when the loss or a weight stops being a finite number; whatever `signal` aborts with
 */
export async function trainStage(
  base: BaseModel,
  task: StageTask,
  onProgress: (progress: StageProgress) => void = () => {},
  signal?: AbortSignal,
): Promise<StageValues> {
  const { device, network } = base;
  const { layers: top, tokens, width } = network.architecture;
  const carried = network.architecture.inputs.filter(({ carried }) => carried);
  const { training, lossEvery = 10 } = task;
  const { batchSize } = training;
  const lowest = task.from ?? Math.min(...task.layers);
  const objective = objectiveOf(task.objective ?? 'classification', network.architecture);
  const labels = batchSize * objective.labels;
  const above = task.prefix.at(-1)?.values ?? null;
  const start = startStage(task.form, task.layers, task.key, above);
  const { stage, parameters } = placeStage(device, task.form, task.layers, start, 'train');
  const prefix = placePrefix(base, task);
  const random = randomState(device, task.key);
  const inputs = {
    x: zeros(device, [batchSize, tokens, width]),
    carried: placeInputs(device, carried, batchSize),
    labels: zeros(device, [labels], { dtype: objective.dtype }),
    weights: zeros(device, [labels]),
  };
  const trained = [...parameters.values()];
  const optimiser = new AdamW(device, trained, {
    weightDecay: training.weightDecay,
    clipNorm: training.clipNorm ?? undefined,
  });
  const step = capture(device, () => {
    let x: Tensor = inputs.x;
    for (let layer = lowest; layer < top; layer++) {
      const own = withDropout(stage.adapters.get(layer), layer, task.form, random);
      const adapter = own ?? prefix.adapters.get(layer);
      x = network.layer(layer, x, { inputs: inputs.carried, adapter, merged: prefix.merged.get(layer) });
    }
    const loss = objective.loss(network, x, stage.head, inputs.labels, inputs.weights);
    optimiser.apply(gradients(loss, trained));
    return { loss };
  });
  try {
    const steps = stageSteps(task.records, training);
    const host = {
      x: new Float32Array(batchSize * tokens * width),
      carried: hostInputs(carried, batchSize),
      labels: objective.dtype === 'u32' ? new Uint32Array(labels) : new Float32Array(labels),
      weights: new Float32Array(labels),
    };
    let done = 0;
    for (let epoch = 0; epoch < training.epochs; epoch++) {
      const order = task.order(epoch);
      for (let from = 0; from < order.length; from += batchSize) {
        await task.turn?.();
        signal?.throwIfAborted();
        if (task.prepare) {
          await task.prepare(Array.from(order).slice(from, from + batchSize));
          signal?.throwIfAborted();
        }
        fillBatch(task, order, from, carried, host);
        if (!host.weights.some((weight) => weight > 0)) {
          // Prompts that left no room for their responses: there is no mean over nothing, and no step.
          done++;
          onProgress({ step: done, steps, loss: null });
          continue;
        }
        inputs.x.write(host.x);
        writeInputs(carried, host.carried, inputs.carried);
        inputs.labels.write(host.labels);
        inputs.weights.write(host.weights);
        random.setStep(done);
        optimiser.begin(learningRateAt(done, { ...training, steps }));
        step.replay();
        done++;
        const isRead = done % lossEvery === 0 || done === steps;
        const loss = isRead ? await step.outputs.loss.item() : null;
        if (!isRead) await device.idle();
        if (loss !== null && !Number.isFinite(loss))
          throw new ModelError(
            `training: the loss became ${loss} at step ${done}; lower training.learningRate`,
          );
        onProgress({ step: done, steps, loss });
      }
    }
    return await readValues(parameters);
  } finally {
    step.dispose();
    optimiser.dispose();
    random.state.dispose();
    const { carried: carriedInputs, ...others } = inputs;
    for (const tensor of [
      ...trained,
      ...Object.values(carriedInputs),
      ...Object.values(others),
      ...prefix.tensors,
    ])
      tensor.destroy();
  }
}

/** Copies the records of a batch, from number `from` of the epoch on, to where they are written from. Rows that are left over get weight zero. */
function fillBatch(
  task: StageTask,
  order: ArrayLike<number>,
  from: number,
  carried: readonly InputField[],
  host: {
    x: Float32Array;
    carried: HostInputs;
    labels: Uint32Array | Float32Array;
    weights: Float32Array;
  },
): void {
  const { batchSize } = task.training;
  const rowSize = host.x.length / batchSize;
  const labels = host.labels.length / batchSize;
  for (let row = 0; row < batchSize; row++) {
    const record = order[from + row];
    const target = host.x.subarray(row * rowSize, (row + 1) * rowSize);
    if (record === undefined) target.fill(0);
    else {
      task.activation(record, target);
      // What a row of weight zero carries does not matter.
      if (task.inputs) copyInputs(carried, task.inputs(record), 0, 1, host.carried, row);
    }
    for (let i = 0; i < labels; i++) {
      const of = record === undefined ? null : record * labels + i;
      host.labels[row * labels + i] = of === null ? 0 : task.labels[of]!;
      host.weights[row * labels + i] = of === null ? 0 : (task.weights?.[of] ?? 1);
    }
  }
}

/** The frozen stages above, on the device. */
interface PlacedPrefix {
  /** Weights to use instead of the base's own, by layer and target. */
  merged: Map<number, Map<string, Tensor>>;
  /** Adapters that stay beside the base's weights, by layer. */
  adapters: Map<number, LayerAdapter>;
  tensors: Tensor[];
}

/**
 * Merges the changes of the frozen stages into the base's weights: in a step they cost nothing then. Of a quantised base the
 * merged weights would be f32, four to eight times the memory of its own and more than quantising saved where every layer has an
 * adapter; there they stay beside the base, as in PEFT, and a step computes their small products.
 */
function placePrefix({ device, network }: BaseModel, { form, prefix }: StageTask): PlacedPrefix {
  const placed: PlacedPrefix = { merged: new Map(), adapters: new Map(), tensors: [] };
  for (const { layers: frozen, values } of prefix) {
    const { stage, parameters } = placeStage(device, form, frozen, values, 'serve');
    for (const [layer, adapter] of stage.adapters) {
      const { pairs, scale } = adapter;
      const targets = Object.keys(pairs);
      if (targets.some((target) => network.linearOf(layer, target).weight.dtype !== 'f32')) {
        placed.adapters.set(layer, adapter);
        placed.tensors.push(...Object.values(pairs).flatMap(({ down, up }) => [down, up]));
        continue;
      }
      const weights = new Map<string, Tensor>();
      for (const target of targets) {
        const { weight } = network.linearOf(layer, target);
        const changed = scope(() => mergeLora(weight, { ...pairs[target]!, scale }));
        // From here on it is read only: its texture form may be kept for the whole stage.
        changed.storage.constant = true;
        weights.set(target, changed);
      }
      placed.merged.set(layer, weights);
      placed.tensors.push(...weights.values());
    }
    const isKept = new Set(placed.tensors);
    for (const parameter of parameters.values()) if (!isKept.has(parameter)) parameter.destroy();
  }
  return placed;
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

async function readValues(parameters: ReadonlyMap<string, Tensor>): Promise<StageValues> {
  const values: StageValues = new Map();
  for (const [name, parameter] of parameters) {
    const read = await parameter.read();
    // The last step is the one that no later loss tells about.
    if (!read.every(Number.isFinite))
      throw new ModelError(
        `training: ${name} is not finite after the last step; lower training.learningRate`,
      );
    values.set(name, read);
  }
  return values;
}
