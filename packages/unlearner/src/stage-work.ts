import { type StagePlan, sha256Hex } from '@s3t/algorithm';
import type { RandomKey } from '@s3t/engine';
import {
  type BaseModel,
  encodeStage,
  type FrozenStage,
  ModelError,
  type StageForm,
  type StageProgress,
  type StageTask,
  type StageValues,
  trainStages,
} from '@s3t/model';
import type { RunConfig } from './config.ts';
import { UnlearnerError } from './errors.ts';
import type { KeptActivations } from './kept-activations.ts';
import type { RunRecord } from './run-data.ts';
import { groupsOf } from './setting.ts';
import type { StageMeter } from './stage-meter.ts';
import { TASKS } from './tasks.ts';

/** What training a stage needs besides the stage itself. */
export interface StageContext {
  base: BaseModel;
  form: StageForm;
  config: RunConfig;
  activations: KeptActivations;
  /** What measures its epochs where the configuration stops early; null otherwise. */
  meter: StageMeter | null;
  /** The stages of its prefix, top-down. */
  prefix: readonly FrozenStage[];
  /** The records of its slices. */
  records: readonly RunRecord[];
  /** The layers to train. Default: the adapter group of the stage's position. */
  layers?: readonly number[];
  /** The layer whose kept activations it starts from in every step. Default: the lowest that is trained; the same bits either way, where they are kept in f32. */
  from?: number;
  /** Awaited before each step: what is more urgent goes first. */
  turn?: () => Promise<void>;
}

/** A trained stage: its values, and the bytes of its file. */
export interface TrainedStage {
  values: StageValues;
  bytes: Uint8Array<ArrayBuffer>;
}

/** Trains a stage; see `workStages`. */
export async function workStage(
  context: StageContext,
  plan: Pick<StagePlan, 'id' | 'position'>,
  onProgress: (progress: StageProgress) => void,
  signal?: AbortSignal,
): Promise<TrainedStage> {
  const [trained] = await workStages([{ context, plan }], (_, progress) => onProgress(progress), signal);
  return trained!;
}

/**
 * Trains stages, in one batch where that is possible. The bytes of each follow from its id: records are taken in order of their keys, each
 * epoch's order is a keyed hash, and all randomness is keyed by the id.
 * @param onProgress told the number of the stage
 */
export async function workStages(
  stages: readonly { context: StageContext; plan: Pick<StagePlan, 'id' | 'position'> }[],
  onProgress: (stage: number, progress: StageProgress) => void,
  signal?: AbortSignal,
): Promise<TrainedStage[]> {
  const { base } = stages[0]!.context;
  const tasks = stages.map(({ context, plan }) => taskOf(context, plan, signal));
  const trained = await trainStages(base, tasks, onProgress, signal).catch((error) => {
    // It had all it needs: what is left to go wrong is how it was asked to train.
    if (error instanceof ModelError) throw new UnlearnerError('config', error.message, { cause: error });
    throw error;
  });
  return trained.map((values, i) => {
    const { form, layers } = tasks[i]!;
    return { values, bytes: encodeStage(form, layers, values) };
  });
}

function taskOf(
  { form, config, activations, meter, prefix, records, layers: own, from: start, turn }: StageContext,
  plan: Pick<StagePlan, 'id' | 'position'>,
  signal: AbortSignal | undefined,
): StageTask {
  const layers = own ?? groupsOf(form, config)[plan.position]!;
  const from = start ?? Math.min(...layers);
  const key = keyOf(plan.id);
  const { earlyStopping } = config.training;
  const stopping = earlyStopping && {
    patience: earlyStopping.patience,
    measure: (values: StageValues) =>
      meter!.score([...prefix, { layers, values }], async () => turn?.(), signal),
  };
  const ordered = [...records].sort((a, b) => (a.key < b.key ? -1 : 1));
  return {
    form,
    training: config.training,
    key,
    layers,
    prefix,
    records: ordered.length,
    from,
    prepare: (batch, epoch) =>
      activations.prepare(
        batch.map((record) => ordered[record]!.key),
        from,
        { key, epoch },
      ),
    activation: (record, target) => activations.read(ordered[record]!.key, from, target),
    inputs: (record) => activations.inputs(ordered[record]!.key),
    tokens: (record) => activations.tokens(ordered[record]!.key),
    ...learntFrom(ordered, activations, config),
    order: (epoch) => epochOrder(plan.id, epoch, ordered),
    turn,
    stopping,
  };
}

/** What is learnt of the records, one after the other. */
function learntFrom(
  records: readonly RunRecord[],
  activations: KeptActivations,
  { task }: RunConfig,
): Pick<StageTask, 'objective' | 'labels' | 'weights'> {
  const { learns } = TASKS[task];
  if (learns === 'number')
    return { objective: 'regression', labels: Float32Array.from(records, ({ label }) => label) };
  if (learns === 'class')
    return { objective: 'classification', labels: Uint32Array.from(records, ({ label }) => label) };
  const next = records.map(({ key }) => activations.nextTokens(key));
  const tokens = next[0]?.labels.length ?? 0;
  const labels = new Uint32Array(records.length * tokens);
  const weights = new Float32Array(records.length * tokens);
  next.forEach((one, record) => {
    labels.set(one.labels, record * tokens);
    weights.set(one.weights, record * tokens);
  });
  return { objective: 'causal-lm', labels, weights };
}

/** The key of everything random in a stage: the first 64 bits of its id. */
function keyOf(id: string): RandomKey {
  return [Number.parseInt(id.slice(0, 8), 16), Number.parseInt(id.slice(8, 16), 16)];
}

/** Records sorted by the hash of stage, epoch and key: leaving one out moves no other past its neighbours. */
function epochOrder(id: string, epoch: number, records: readonly RunRecord[]): Uint32Array {
  const hashes = records.map(({ key }) => sha256Hex(`${id}:${epoch}:${key}`));
  const order = Uint32Array.from(records, (_, i) => i);
  return order.sort((a, b) => (hashes[a]! < hashes[b]! ? -1 : 1));
}
