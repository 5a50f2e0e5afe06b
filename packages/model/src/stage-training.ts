import {
  AdamW,
  capture,
  crossEntropy,
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
import { ModelError } from './errors.ts';
import type { BaseModel } from './model.ts';
import { headOf, placeStage, type StageForm, startStage } from './stage.ts';
import { classify, encoderLayer, type LoraTarget, tokenCount, VIT_TARGETS, type VitLayer } from './vit.ts';

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
  training: TrainingConfig;
  /** Keys everything random in the stage. */
  key: RandomKey;
  /** The layers of the group to train. */
  layers: readonly number[];
  /** The stages above, top-down: loaded and frozen. */
  prefix: readonly FrozenStage[];
  /** How many records there are. */
  records: number;
  /** Copies what enters the lowest trained layer for a record, [tokens * hidden]. */
  activation: (record: number, target: Float32Array) => void;
  labels: Uint32Array;
  /** The order of the records in an epoch. */
  order: (epoch: number) => ArrayLike<number>;
  /** Awaited before each step: what is more urgent goes first. */
  turn?: () => Promise<void>;
}

export interface StageProgress {
  step: number;
  steps: number;
  /** The loss of this step where it was read back, else null. */
  loss: number | null;
}

/** How often the loss is read: each reading waits for the device. */
const STEPS_PER_LOSS = 10;

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
): Promise<Map<string, Float32Array<ArrayBuffer>>> {
  const { device, config } = base;
  const { training } = task;
  const { batchSize } = training;
  const lowest = Math.min(...task.layers);
  const rowSize = tokenCount(config) * config.hidden_size;
  const above = task.prefix.at(-1);
  const start = startStage(task.form, task.layers, task.key, above ? headOf(above.values) : null);
  const { stage, parameters } = placeStage(device, task.form, task.layers, start, 'train');
  const layers = mergedLayers(base, task);
  const random = randomState(device, task.key);
  const inputs = {
    x: zeros(device, [batchSize, tokenCount(config), config.hidden_size]),
    labels: zeros(device, [batchSize], { dtype: 'u32' }),
    weights: zeros(device, [batchSize]),
  };
  const trained = [...parameters.values()];
  const optimiser = new AdamW(device, trained, {
    weightDecay: training.weightDecay,
    clipNorm: training.clipNorm ?? undefined,
  });
  const step = capture(device, () => {
    let x: Tensor = inputs.x;
    for (let layer = lowest; layer < config.num_hidden_layers; layer++) {
      const adapter = withDropout(stage.adapters.get(layer), layer, task.form.lora.dropout, random);
      const onlyClassToken = layer === config.num_hidden_layers - 1;
      x = encoderLayer(config, layers.get(layer)!, x, { adapter, onlyClassToken });
    }
    const logits = classify(config, base.weights, x, stage.head);
    const loss = crossEntropy(logits, inputs.labels, inputs.weights);
    optimiser.apply(gradients(loss, trained));
    return { loss };
  });
  try {
    const steps = stageSteps(task.records, training);
    const host = {
      x: new Float32Array(batchSize * rowSize),
      labels: new Uint32Array(batchSize),
      weights: new Float32Array(batchSize),
    };
    let done = 0;
    for (let epoch = 0; epoch < training.epochs; epoch++) {
      const order = task.order(epoch);
      for (let from = 0; from < order.length; from += batchSize) {
        await task.turn?.();
        signal?.throwIfAborted();
        fillBatch(task, order, from, rowSize, host);
        inputs.x.write(host.x);
        inputs.labels.write(host.labels);
        inputs.weights.write(host.weights);
        random.setStep(done);
        optimiser.begin(learningRateAt(done, { ...training, steps }));
        step.replay();
        done++;
        const isRead = done % STEPS_PER_LOSS === 0 || done === steps;
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
    for (const tensor of [...trained, ...Object.values(inputs)]) tensor.destroy();
    for (const merged of layers.values())
      for (const target of VIT_TARGETS) disposeMerged(merged, target, base);
  }
}

function fillBatch(
  task: StageTask,
  order: ArrayLike<number>,
  from: number,
  rowSize: number,
  host: { x: Float32Array; labels: Uint32Array; weights: Float32Array },
): void {
  for (let row = 0; row < host.labels.length; row++) {
    const record = order[from + row];
    const target = host.x.subarray(row * rowSize, (row + 1) * rowSize);
    if (record === undefined) target.fill(0);
    else task.activation(record, target);
    host.labels[row] = record === undefined ? 0 : task.labels[record]!;
    host.weights[row] = record === undefined ? 0 : 1;
  }
}

/** The layers from the lowest trained one up, with the frozen stages' changes merged into their weights. */
function mergedLayers({ device, config, weights }: BaseModel, task: StageTask): Map<number, VitLayer> {
  const layers = new Map<number, VitLayer>();
  for (let layer = Math.min(...task.layers); layer < config.num_hidden_layers; layer++)
    layers.set(layer, weights.layers[layer]!);
  for (const { layers: frozen, values } of task.prefix) {
    const { stage, parameters } = placeStage(device, task.form, frozen, values, 'serve');
    for (const [layer, { pairs, scale }] of stage.adapters) {
      const merged = { ...layers.get(layer)! };
      for (const [target, pair] of Object.entries(pairs) as [LoraTarget, { down: Tensor; up: Tensor }][]) {
        const { weight, bias } = merged[target];
        const changed = scope(() => mergeLora(weight, { ...pair, scale }));
        // From here on it is read only: its texture form may be kept for the whole stage.
        changed.storage.constant = true;
        merged[target] = { weight: changed, bias };
      }
      layers.set(layer, merged);
    }
    for (const parameter of parameters.values()) parameter.destroy();
  }
  return layers;
}

function disposeMerged(layer: VitLayer, target: LoraTarget, base: BaseModel): void {
  const isBase = base.weights.layers.some((own) => own[target].weight === layer[target].weight);
  if (!isBase) layer[target].weight.destroy();
}

function withDropout(
  adapter: LayerAdapter | undefined,
  layer: number,
  rate: number,
  random: ReturnType<typeof randomState>,
): LayerAdapter | undefined {
  if (!adapter || rate === 0) return adapter;
  return {
    ...adapter,
    dropout: (x, target) =>
      dropout(x, random, rate, layer * VIT_TARGETS.length + VIT_TARGETS.indexOf(target as LoraTarget)),
  };
}

async function readValues(
  parameters: ReadonlyMap<string, Tensor>,
): Promise<Map<string, Float32Array<ArrayBuffer>>> {
  const values = new Map<string, Float32Array<ArrayBuffer>>();
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
