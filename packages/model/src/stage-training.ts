import {
  AdamW,
  capture,
  GradientAccumulator,
  learningRateAt,
  type RandomKey,
  randomState,
  type ScheduleName,
  type Tensor,
  zeros,
} from '@s3t/engine';
import type { HostInputs } from './architecture.ts';
import { type Batch, batchesOf } from './batches.ts';
import { EarlyStopping, type StoppingRule } from './early-stopping.ts';
import { ModelError } from './errors.ts';
import type { BaseModel } from './model.ts';
import { type ObjectiveName, objectiveOf } from './objective.ts';
import { destroyAll, Owned } from './owned.ts';
import { placePrefix } from './placed-prefix.ts';
import { placeStage, type StageForm, type StageValues, startStage } from './stage.ts';
import { type StepParts, TrainingStep } from './training-step.ts';

/** How a stage is trained; names as in the configuration file. */
export interface TrainingConfig {
  epochs: number;
  /** Records that are computed at once. */
  batchSize: number;
  /** Batches whose gradients make one step, which is that of the mean over all their labels. Default: 1. */
  accumulation?: number;
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
  prepare?: (records: readonly number[], epoch: number) => Promise<void>;
  /** The layer that activations enter; those from it to the lowest trained one run bare in every step. Default: the lowest trained one. */
  from?: number;
  /** Copies what enters layer `from` for a record: the first tokens of it that fit into `target`. */
  activation: (record: number, target: Float32Array) => void;
  /** The inputs of a record that layers read, if the architecture has any. */
  inputs?: (record: number) => HostInputs;
  /** What is to be learnt of each record, one after the other: classes, numbers, or every token's next one. */
  labels: ArrayLike<number>;
  /** How much each label counts. Default: 1. */
  weights?: ArrayLike<number>;
  /** To how many tokens a record's text is padded. Default: to all that the architecture has. */
  tokens?: (record: number) => number;
  /** The order of the records in an epoch. */
  order: (epoch: number) => ArrayLike<number>;
  /** Steps from one reading of the loss to the next: each waits for the device. Default: 10. */
  lossEvery?: number;
  /** Awaited before each step: what is more urgent goes first. */
  turn?: () => Promise<void>;
  /**
   * Ends the training early, and makes the best epoch's values the stage's. `measure` says after each epoch how good the values are, more is
   * better; it must depend on nothing but them and what the stage's key stands for. The values are to be read only.
   */
  stopping?: StoppingRule & { measure: (values: StageValues) => Promise<number> };
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
  { epochs, batchSize, accumulation = 1 }: Pick<TrainingConfig, 'epochs' | 'batchSize' | 'accumulation'>,
): number {
  return epochs * Math.ceil(Math.ceil(records / batchSize) / accumulation);
}

/**
 * Trains one stage and returns its values. Nothing but the task decides the bytes. Batches are filled up with rows of weight
 * zero, so that steps over texts of one length have the same shape and are captured once.
 * @throws ModelError when a label is none of the head's, when the loss or a weight stops being a finite number; whatever `signal` aborts
 * with
 */
export async function trainStage(
  base: BaseModel,
  task: StageTask,
  onProgress: (progress: StageProgress) => void = () => {},
  signal?: AbortSignal,
): Promise<StageValues> {
  const { device, network } = base;
  const { training, lossEvery = 10 } = task;
  const { batchSize, accumulation = 1 } = training;
  const { tokens } = network.architecture;
  const objective = objectiveOf(task.objective ?? 'classification', network.architecture);
  checkLabels(task);
  const above = task.prefix.at(-1)?.values ?? null;
  const start = startStage(task.form, task.layers, task.key, above);
  const weightOf = ({ records }: Batch) =>
    records.reduce((sum, record) => sum + recordWeight(task, record, objective.labels), 0);
  const stopping = task.stopping && new EarlyStopping(task.stopping);
  let best: StageValues | null = null;
  let isKept = false;
  const owned = new Owned();
  try {
    const { stage, parameters } = owned.add(
      placeStage(device, task.form, task.layers, start, 'train'),
      (placed) => destroyAll(placed.parameters.values()),
    );
    const prefix = owned.add(placePrefix(base, task), ({ tensors }) => destroyAll(tensors));
    const random = owned.add(randomState(device, task.key), ({ state }) => state.dispose());
    const trained = [...parameters.values()];
    const { weightDecay, clipNorm } = training;
    const optimiser = owned.add(
      new AdamW(device, trained, { weightDecay, clipNorm: clipNorm ?? undefined }),
      dispose,
    );
    const sums = accumulation > 1 ? owned.add(new GradientAccumulator(device, trained), dispose) : null;
    const share = sums && owned.add(zeros(device, [1]), dispose);
    const update =
      sums &&
      owned.add(
        capture(device, () => {
          optimiser.apply(sums.gradients);
          sums.clear();
        }),
        dispose,
      );
    const parts: StepParts = {
      ...{ base, task, stage, prefix, random, trained, share, owned },
      finish: (found) => (sums ? sums.add(found) : optimiser.apply(found)),
    };
    const byLength = new Map<number, TrainingStep>();
    const stepFor = (length: number) => {
      const known = byLength.get(length) ?? new TrainingStep(parts, length);
      byLength.set(length, known);
      return known;
    };
    // Those of all epochs, also where it ends early: the learning rate follows them.
    const steps = stageSteps(task.records, training);
    let done = 0;
    for (let epoch = 0; epoch < training.epochs; epoch++) {
      const batches = batchesOf(task.order(epoch), task.tokens ?? (() => tokens), batchSize);
      for (let from = 0; from < batches.length; from += accumulation) {
        const parts = batches.slice(from, from + accumulation).map((batch) => ({
          batch,
          weight: weightOf(batch),
        }));
        const total = parts.reduce((sum, { weight }) => sum + weight, 0);
        const isRead = (done + 1) % lossEvery === 0 || done + 1 === steps;
        let loss = isRead && total > 0 ? 0 : null;
        let isBegun = false;
        for (const [part, { batch, weight }] of parts.entries()) {
          await task.turn?.();
          signal?.throwIfAborted();
          // Prompts that left no room for their responses: there is no mean over nothing, and no step.
          if (weight === 0) continue;
          if (task.prepare) {
            await task.prepare(batch.records, epoch);
            signal?.throwIfAborted();
          }
          if (!isBegun) optimiser.begin(learningRateAt(done, { ...training, steps }));
          isBegun = true;
          random.setStep(done * accumulation + part);
          share?.write(Float32Array.of(weight / total));
          const step = stepFor(batch.tokens);
          step.run(batch);
          if (loss !== null) loss += await step.loss.item();
          else await device.idle();
        }
        if (total > 0) update?.replay();
        done++;
        if (loss !== null && !Number.isFinite(loss))
          throw new ModelError(
            `training: the loss became ${loss} at step ${done}; lower training.learningRate`,
          );
        onProgress({ step: done, steps, loss });
      }
      if (!stopping) continue;
      const values = await readValues(parameters, done);
      let isBest = false;
      try {
        isBest = stopping.note(await task.stopping!.measure(values));
      } finally {
        forgetValues(isBest ? best : values);
      }
      if (isBest) best = values;
      signal?.throwIfAborted();
      if (stopping.isOver) break;
    }
    const values = best ?? (await readValues(parameters, done));
    isKept = true;
    return values;
  } finally {
    if (!isKept) forgetValues(best);
    owned.release();
  }
}

const dispose = (made: { dispose(): void }): void => made.dispose();

/** A kernel takes what is past the last class for the last one. @throws ModelError naming the record */
export function checkLabels({ objective = 'classification', form, labels, weights }: StageTask): void {
  if (objective !== 'classification') return;
  for (let record = 0; record < labels.length; record++) {
    const label = labels[record]!;
    const isClass = Number.isInteger(label) && label >= 0 && label < form.outputs;
    if (!isClass && weights?.[record] !== 0)
      throw new ModelError(
        `training: record ${record} has label ${label}, the head has ${form.outputs} outputs`,
      );
  }
}

/** How much a record counts: the sum over its labels. */
export function recordWeight({ weights }: StageTask, record: number, labels: number): number {
  if (!weights) return labels;
  let sum = 0;
  for (let i = record * labels; i < (record + 1) * labels; i++) sum += weights[i]!;
  return sum;
}

/** Zeroes values that are no stage's: they have learnt from the records, too. */
function forgetValues(values: StageValues | null): void {
  for (const value of values?.values() ?? []) value.fill(0);
}

/** The values of a stage after a step. @throws ModelError when one is no finite number */
export async function readValues(
  parameters: ReadonlyMap<string, Tensor>,
  step: number,
): Promise<StageValues> {
  const values: StageValues = new Map();
  for (const [name, parameter] of parameters) {
    const read = await parameter.read();
    // Of the last step no later loss tells.
    if (!read.every(Number.isFinite))
      throw new ModelError(`training: ${name} is not finite after step ${step}; lower training.learningRate`);
    values.set(name, read);
  }
  return values;
}
