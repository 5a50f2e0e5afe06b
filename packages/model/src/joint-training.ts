import { AdamW, type Captured, capture, learningRateAt, randomState } from '@s3t/engine';
import { type Batch, batchesOf } from './batches.ts';
import { ModelError } from './errors.ts';
import { type JointPart, JointStep } from './joint-step.ts';
import type { BaseModel } from './model.ts';
import { objectiveOf } from './objective.ts';
import { destroyAll, Owned } from './owned.ts';
import { placePrefix } from './placed-prefix.ts';
import { placeStage, type StageValues, startStage } from './stage.ts';
import {
  checkLabels,
  readValues,
  recordWeight,
  type StageProgress,
  type StageTask,
  stageSteps,
  trainStage,
} from './stage-training.ts';

/**
 * Whether stages can be trained in one batch: of the same layers from the same activations, configured alike, of rows of one length. What
 * ends early or gathers gradients of several batches is trained by itself.
 */
export function canTrainTogether(base: BaseModel, tasks: readonly StageTask[]): boolean {
  const [first] = tasks;
  if (!first || tasks.length < 2) return false;
  const { tokens } = base.network.architecture;
  return tasks.every(
    (task) =>
      task.form === first.form &&
      task.training === first.training &&
      task.objective === first.objective &&
      task.layers.join() === first.layers.join() &&
      task.from === first.from &&
      task.prefix.length === first.prefix.length &&
      !task.stopping &&
      (task.training.accumulation ?? 1) === 1 &&
      Array.from({ length: task.records }, (_, record) => task.tokens?.(record) ?? tokens).every(
        (length) => length === tokens,
      ),
  );
}

/** A stage that is trained beside others, and how far it is. */
interface Lane extends JointPart {
  /** Its number among the parts of a step. */
  part: number;
  parameters: ReturnType<typeof placeStage>['parameters'];
  optimiser: AdamW;
  update: Captured<void> | null;
  batches: Iterator<{ batch: Batch; epoch: number }>;
  steps: number;
  done: number;
}

/**
 * Trains several stages and returns the values of each, bit for bit those that `trainStage` gives. Where `canTrainTogether` says so, their
 * batches run as one: products of the base are shared, and a device that one stage would not fill has more to do. One that has fewer steps
 * is done before the others.
 * @throws as `trainStage`, for whichever stage it is first
 */
export async function trainStages(
  base: BaseModel,
  tasks: readonly StageTask[],
  onProgress: (stage: number, progress: StageProgress) => void = () => {},
  signal?: AbortSignal,
): Promise<StageValues[]> {
  if (!canTrainTogether(base, tasks)) {
    const values: StageValues[] = [];
    for (const [stage, task] of tasks.entries())
      values.push(await trainStage(base, task, (progress) => onProgress(stage, progress), signal));
    return values;
  }
  const { device, network } = base;
  const { tokens } = network.architecture;
  const [{ training, objective, turn, lossEvery = 10 }] = tasks as [StageTask];
  const { labels } = objectiveOf(objective ?? 'classification', network.architecture);
  const owned = new Owned();
  try {
    const lanes = tasks.map((task, part) => placeLane(base, task, part, owned));
    const step = new JointStep(base, lanes, tokens, owned);
    for (let left = lanes.filter(({ done, steps }) => done < steps); left.length > 0; ) {
      await turn?.();
      signal?.throwIfAborted();
      const learning: Lane[] = [];
      for (const lane of left) {
        const { batch, epoch } = lane.batches.next().value as { batch: Batch; epoch: number };
        const { task } = lane;
        // Prompts that left no room for their responses: there is no mean over nothing, and no step.
        if (!batch.records.some((record) => recordWeight(task, record, labels) !== 0)) continue;
        if (task.prepare) {
          await task.prepare(batch.records, epoch);
          signal?.throwIfAborted();
        }
        step.fill(lane.part, batch.records);
        lane.random.setStep(lane.done);
        lane.optimiser.begin(learningRateAt(lane.done, { ...training, steps: lane.steps }));
        learning.push(lane);
      }
      if (learning.length > 0) step.run();
      for (const lane of learning) {
        const found = step.gradients(lane.part);
        lane.update ??= capture(device, () => lane.optimiser.apply(found));
        lane.update.replay();
      }
      let isRead = false;
      for (const lane of left) {
        lane.done++;
        const wanted = lane.done % lossEvery === 0 || lane.done === lane.steps;
        const loss = wanted && learning.includes(lane) ? await step.loss(lane.part).item() : null;
        isRead ||= loss !== null;
        if (loss !== null && !Number.isFinite(loss))
          throw new ModelError(
            `training: the loss became ${loss} at step ${lane.done}; lower training.learningRate`,
          );
        onProgress(lane.part, { step: lane.done, steps: lane.steps, loss });
      }
      if (!isRead) await device.idle();
      left = left.filter(({ done, steps }) => done < steps);
    }
    const values: StageValues[] = [];
    for (const { parameters, done } of lanes) values.push(await readValues(parameters, done));
    return values;
  } finally {
    owned.release();
  }
}

/** @param owned takes what lies on the device */
function placeLane(base: BaseModel, task: StageTask, part: number, owned: Owned): Lane {
  const { device } = base;
  const { form, layers, key, training } = task;
  checkLabels(task);
  const above = task.prefix.at(-1)?.values ?? null;
  const start = startStage(form, layers, key, above);
  const { stage, parameters } = owned.add(placeStage(device, form, layers, start, 'train'), (placed) =>
    destroyAll(placed.parameters.values()),
  );
  const trained = [...parameters.values()];
  const { weightDecay, clipNorm } = training;
  const lane: Lane = {
    ...{ part, task, stage, parameters, trained },
    prefix: owned.add(placePrefix(base, task), ({ tensors }) => destroyAll(tensors)),
    random: owned.add(randomState(device, key), ({ state }) => state.dispose()),
    optimiser: owned.add(
      new AdamW(device, trained, { weightDecay, clipNorm: clipNorm ?? undefined }),
      (optimiser) => optimiser.dispose(),
    ),
    ...{ update: null, batches: batchesOfAll(base, task), done: 0 },
    steps: stageSteps(task.records, training),
  };
  return owned.add(lane, ({ update }) => update?.dispose());
}

function* batchesOfAll(
  { network }: BaseModel,
  { order, training }: StageTask,
): Generator<{ batch: Batch; epoch: number }> {
  const { tokens } = network.architecture;
  for (let epoch = 0; epoch < training.epochs; epoch++)
    for (const batch of batchesOf(order(epoch), () => tokens, training.batchSize)) yield { batch, epoch };
}
