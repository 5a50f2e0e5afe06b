import { planStages, type StagePlan, type StageSetting } from '@s3t/algorithm';
import type { ActiveStage, Ledger } from '@s3t/ledger';
import {
  type BaseModel,
  decodeStage,
  type FrozenStage,
  type StageForm,
  stageSteps,
  unlessStopped,
} from '@s3t/model';
import type { RunConfig } from './config.ts';
import { KeptActivations } from './kept-activations.ts';
import type { RightOfWay } from './right-of-way.ts';
import type { RunRecord } from './run-data.ts';
import { groupsOf } from './setting.ts';
import { SliceDigests, type SliceState } from './slice-digests.ts';
import type { StageMeter } from './stage-meter.ts';
import { type StageContext, type TrainedStage, workStages } from './stage-work.ts';
import { Trainings } from './trainings.ts';
import type { TrainingSummary, UnlearnerEvent, WorkOptions } from './types.ts';
import type { Unpublished } from './unpublished.ts';

/** The stages a run wants over the records that remain, and the revision of every slice they were planned with. */
export interface WantedStages {
  plan: readonly StagePlan[];
  /** [shard][slice] */
  revisions: readonly (readonly number[])[];
  /** [shard][slice]: how many records it holds. */
  counts: readonly (readonly number[])[];
}

export interface WorkerParts {
  ledger: Ledger;
  base: BaseModel;
  form: StageForm;
  config: RunConfig;
  setting: StageSetting;
  sequences: readonly number[][];
  /** The data, read when it is first needed. */
  records: () => Promise<ReadonlyMap<string, RunRecord>>;
  /** What measures the epochs of a stage; null where none is stopped early. */
  meter: () => Promise<StageMeter | null>;
  emit: (event: UnlearnerEvent) => void;
  /** Erasures go before the next step. */
  erasures: RightOfWay;
  /** The run's. */
  folder: string;
  /** Used within `exclusively`. */
  unpublished: Unpublished;
  /** Runs a section with no erasure in between. */
  exclusively: <T>(section: () => Promise<T>) => Promise<T>;
  /** Serves what is active now. Called within `exclusively`. */
  refresh: () => Promise<void>;
  /** Takes note that no stage is missing; false when one is after all. */
  completed: (isComplete: () => Promise<boolean>) => Promise<boolean>;
}

/** The stages that are wanted of records in slices, [shard][slice]. */
export function planWanted({
  setting,
  sequences,
  slices,
}: Pick<WorkerParts, 'setting' | 'sequences'> & {
  slices: readonly (readonly SliceState[])[];
}): WantedStages {
  // The revisions belong to this plan for good: with newer ones, a stage that was trained without a record could be published under
  // the id of one that learnt from it.
  const each = <T>(of: (slice: SliceState) => T) => slices.map((shard) => shard.map(of));
  return {
    plan: planStages({ setting, sequences, sliceDigests: each(({ digest }) => digest) }),
    revisions: each(({ revision }) => revision),
    counts: each(({ records }) => records),
  };
}

/**
 * The loop over the stages that are wanted and missing: first training, resuming and repair alike. Nothing else decides what
 * is trained, so it may be stopped and started anywhere.
 */
export class Worker {
  readonly #parts: WorkerParts;
  readonly #slices: SliceDigests;
  #wanted: Promise<WantedStages> | null = null;
  /** Whether stages may be trained by it. */
  #isToTrain = false;
  /** By shard. */
  readonly #kept: Map<number, KeptActivations> = new Map();
  #current: { plans: readonly StagePlan[]; abort: AbortController } | null = null;
  readonly trainings: Trainings = new Trainings();

  constructor(parts: WorkerParts) {
    this.#parts = parts;
    this.#slices = new SliceDigests(parts.ledger);
  }

  /** Every stage the configuration wants over the records that remain. One that an erasure overtakes is not kept. */
  wanted(): Promise<WantedStages> {
    return this.#wanted ?? this.#planAnew(false);
  }

  /** The same, by records that this process has read: what is trained. */
  #toTrain(): Promise<WantedStages> {
    return this.#wanted && this.#isToTrain ? this.#wanted : this.#planAnew(true);
  }

  #planAnew(isToTrain: boolean): Promise<WantedStages> {
    const planned = this.#plan(isToTrain);
    this.#wanted = planned;
    this.#isToTrain = isToTrain;
    planned.catch(() => {
      if (this.#wanted === planned) this.#wanted = null;
    });
    return planned;
  }

  /** Keeps for the next process what was read of the records. */
  async close(): Promise<void> {
    await this.#slices.keep();
  }

  async #plan(isToTrain: boolean): Promise<WantedStages> {
    const { setting, sequences } = this.#parts;
    return planWanted({ setting, sequences, slices: await this.#slices.read({ isToTrain }) });
  }

  /**
   * Takes note of an erasure: forgets the records and stops what was learning from one of them. Synchronous.
   * @returns whether they are being learnt from, or are kept for it
   */
  erased(keys: readonly string[], touches: (plan: StagePlan) => boolean): boolean {
    this.#wanted = null;
    for (const activations of this.#kept.values()) for (const key of keys) activations.forget(key);
    const spoilt = this.#current?.plans.filter(touches) ?? [];
    if (spoilt.length > 0) {
      this.#current!.abort.abort(new SupersededError(spoilt));
      this.trainings.stop();
    }
    return this.#current !== null || this.#kept.size > 0;
  }

  /** Trains what is missing, until nothing is. */
  async run({ shards, signal, turn }: WorkOptions = {}): Promise<TrainingSummary> {
    const { emit } = this.#parts;
    const began = performance.now();
    const summary = { trained: 0, superseded: 0 };
    let announced = -1;
    let doneSteps = 0;
    try {
      for (;;) {
        await turnOf(turn, signal);
        // One that has just stopped a training goes on before it is planned anew.
        await unlessStopped(this.#parts.erasures.clear(), signal);
        signal?.throwIfAborted();
        const wanted = await this.#toTrain();
        const missing = await this.#missing(wanted, shards);
        const next = this.#nextOf(missing);
        if (next.length === 0) {
          if (shards || (await this.#parts.completed(() => this.#isComplete()))) break;
          continue;
        }
        const stepsOf = (plan: StagePlan) => stageSteps(recordsOf(plan, wanted), this.#parts.config.training);
        const totalSteps = doneSteps + missing.reduce((sum, plan) => sum + stepsOf(plan), 0);
        const stages = summary.trained + missing.length;
        if (announced !== stages) emit({ type: 'work-started', stages, steps: totalSteps });
        announced = stages;
        const steps = { done: doneSteps, total: totalSteps };
        const place = { index: summary.trained, stages, steps };
        for (const { plan, isPublished } of await this.#train(next, wanted, place, { signal, turn }))
          if (isPublished) {
            summary.trained++;
            doneSteps += stepsOf(plan);
          } else {
            summary.superseded++;
          }
      }
    } finally {
      this.#forgetKept([]);
    }
    await this.#slices.keep();
    emit({ type: 'work-finished', trained: summary.trained });
    return { ...summary, seconds: (performance.now() - began) / 1000 };
  }

  async #missing({ plan }: WantedStages, shards: readonly number[] | undefined): Promise<StagePlan[]> {
    const isPresent = presence(await this.#parts.ledger.activeStages());
    return plan.filter((stage) => !isPresent(stage) && (!shards || shards.includes(stage.shard)));
  }

  async #isComplete(): Promise<boolean> {
    return (await this.#missing(await this.#toTrain(), undefined)).length === 0;
  }

  /** What is trained next: the first stage that is missing, and others at its position that can be trained beside it. */
  #nextOf(missing: readonly StagePlan[]): StagePlan[] {
    const [first] = missing;
    if (!first) return [];
    const { together = 1 } = this.#parts.config.training;
    const lacks = new Set(missing.map(({ shard, id }) => `${shard}/${id}`));
    return missing
      .filter(
        ({ shard, position, parent }) =>
          position === first.position && (parent === null || !lacks.has(`${shard}/${parent}`)),
      )
      .slice(0, together);
  }

  /** Trains stages and publishes each that no erasure made worthless meanwhile. One that is in neither case is trained again. */
  async #train(
    plans: readonly StagePlan[],
    wanted: WantedStages,
    {
      index,
      stages,
      steps: total,
    }: { index: number; stages: number; steps: { done: number; total: number } },
    { signal, turn }: Pick<WorkOptions, 'signal' | 'turn'>,
  ): Promise<{ plan: StagePlan; isPublished: boolean }[]> {
    const { erasures, emit } = this.#parts;
    for (const [i, { id: stage, shard, position, slices }] of plans.entries())
      emit({ type: 'stage-started', stage, shard, position, slices, index: index + i, stages });
    const abort = new AbortController();
    this.#current = { plans, abort };
    const either = signal ? AbortSignal.any([signal, abort.signal]) : abort.signal;
    const outcomes: { plan: StagePlan; isPublished: boolean }[] = [];
    const worthless = (plan: StagePlan) => {
      emit({ type: 'stage-superseded', stage: plan.id, shard: plan.shard, position: plan.position });
      outcomes.push({ plan, isPublished: false });
    };
    try {
      this.#forgetKept(plans.map(({ shard }) => shard));
      const contexts: StageContext[] = [];
      for (const plan of plans)
        contexts.push(
          await this.#contextOf(plan, either, async () => {
            await turnOf(turn, either);
            await unlessStopped(erasures.clear(), either);
          }),
        );
      const stepsDone = plans.map(() => 0);
      // What is placed from here on is waited for by the erasure that stops it.
      either.throwIfAborted();
      const trained = await this.trainings.run(() =>
        workStages(
          plans.map((plan, i) => ({ plan, context: contexts[i]! })),
          (i, { step, steps, loss }) => {
            stepsDone[i] = step;
            const doneSteps = total.done + stepsDone.reduce((sum, done) => sum + done, 0);
            emit({
              type: 'step',
              stage: plans[i]!.id,
              step,
              steps,
              doneSteps,
              totalSteps: total.total,
              loss,
            });
          },
          either,
        ),
      );
      for (const [i, plan] of plans.entries()) {
        const isPublished = await this.#publish(
          plan,
          wanted,
          contexts[i]!.records.length,
          trained[i]!,
          abort,
        );
        if (isPublished) outcomes.push({ plan, isPublished });
        else worthless(plan);
      }
    } catch (error) {
      // Whatever failed once an erasure had taken records away may have failed for want of them.
      const reason: unknown = abort.signal.aborted ? abort.signal.reason : error;
      if (!(reason instanceof SupersededError)) throw error;
      for (const plan of reason.plans) worthless(plan);
    } finally {
      this.#current = null;
    }
    return outcomes;
  }

  /** What training a stage needs. @throws SupersededError when an erasure has come between */
  async #contextOf(plan: StagePlan, signal: AbortSignal, turn: () => Promise<void>): Promise<StageContext> {
    const { base, form, config, meter } = this.#parts;
    const records = await this.#lineageRecords(plan);
    const activations = await this.#activationsOf(plan.shard, signal);
    const prefix = await this.#prefixOf(plan);
    return { base, form, config, activations, prefix, records, meter: await meter(), turn };
  }

  /** Publishes a trained stage. Returns false when an erasure made it worthless meanwhile. */
  async #publish(
    plan: StagePlan,
    { revisions }: WantedStages,
    records: number,
    { bytes }: TrainedStage,
    abort: AbortController,
  ): Promise<boolean> {
    const { ledger, unpublished, emit, exclusively, refresh } = this.#parts;
    const { id, shard, position, slices } = plan;
    // As one section: no byte that learnt from a record is written once its erasure was acknowledged, and what is served
    // is always what its version says.
    const published = await exclusively(async () => {
      if (isSpoilt(plan, abort.signal)) return null;
      try {
        const weights = await ledger.adapters.put(bytes);
        const result = await ledger.publishStage({
          ...{ id, shard, position, slices: [...slices], sequences: [...plan.sequences] },
          ...{ parent: plan.parent, lineage: [...plan.lineage], weights, records },
          guard: slices.map((slice) => revisions[shard]![slice]!),
        });
        if (result.published) {
          await refresh();
          return { weights, version: result.version };
        }
      } catch (error) {
        await unpublished.sweep().catch(() => {});
        throw error;
      }
      this.#wanted = null;
      await unpublished.sweep();
      return null;
    });
    if (published) emit({ type: 'stage-published', stage: id, shard, position, ...published });
    return published !== null;
  }

  async #lineageRecords(plan: StagePlan): Promise<RunRecord[]> {
    const { shard, slices } = plan;
    const all = await this.#parts.records();
    const stored = await Promise.all(slices.map((slice) => this.#parts.ledger.sliceRecords(shard, slice)));
    return stored.flat().map(({ key }) => {
      const record = all.get(key);
      // An erasure took it since the plan was made.
      if (!record) throw new SupersededError([plan]);
      return record;
    });
  }

  async #activationsOf(shard: number, signal: AbortSignal): Promise<KeptActivations> {
    const known = this.#kept.get(shard);
    if (known) return known;
    const { base, form, config, ledger, records, folder } = this.#parts;
    const all = await records();
    const own: RunRecord[] = [];
    for (let slice = 0; slice < config.slices; slice++)
      for (const { key } of await ledger.sliceRecords(shard, slice)) {
        const record = all.get(key);
        if (record) own.push(record);
      }
    const layers = groupsOf(form, config).map((group) => Math.min(...group));
    // Without those erased while the ledger was asked: from here on `erased` sees to it, also while they are computed.
    const left = own.filter(({ key }) => all.has(key));
    const activations = new KeptActivations({ base, records: left, layers, config, folder, signal });
    this.#kept.set(shard, activations);
    try {
      await activations.fill();
    } catch (error) {
      this.#kept.delete(shard);
      throw error;
    }
    return activations;
  }

  /** Forgets what is kept of all shards but these. */
  #forgetKept(shards: readonly number[]): void {
    for (const [shard, activations] of this.#kept)
      if (!shards.includes(shard)) {
        activations.clear();
        this.#kept.delete(shard);
      }
  }

  /** The values of the stages that a stage is trained on top of, top-down. */
  async #prefixOf(plan: StagePlan): Promise<FrozenStage[]> {
    const { ledger, form, config } = this.#parts;
    const active = new Map((await ledger.activeStages(plan.shard)).map((stage) => [stage.id, stage]));
    const groups = groupsOf(form, config);
    const prefix: FrozenStage[] = [];
    for (let parent = plan.parent; parent !== null; ) {
      const stage = active.get(parent);
      // An erasure took it since the plan was made.
      if (!stage) throw new SupersededError([plan]);
      const layers = groups[stage.position]!;
      const bytes = (await ledger.adapters.get(stage.weights)) as Uint8Array<ArrayBuffer>;
      prefix.unshift({
        layers,
        values: decodeStage(bytes, form, layers, ledger.adapters.path(stage.weights)),
      });
      parent = stage.parent;
    }
    return prefix;
  }
}

/** How many records a stage learns from. */
export function recordsOf({ shard, slices }: StagePlan, { counts }: WantedStages): number {
  return slices.reduce((sum, slice) => sum + counts[shard]![slice]!, 0);
}

/**
 * Whether the ledger has a stage, in its shard and for all of its sequences. Both may differ for one id: slices that were erased
 * whole are alike, in every shard.
 */
export function presence(active: readonly ActiveStage[]): (plan: StagePlan) => boolean {
  const sequences = new Map(active.map((stage) => [`${stage.shard}/${stage.id}`, stage.sequences]));
  return (plan) => {
    const served = sequences.get(`${plan.shard}/${plan.id}`);
    return served !== undefined && plan.sequences.every((sequence) => served.includes(sequence));
  };
}

/** Waits for the turn of work that may be paused, or until it is stopped. */
async function turnOf(turn: WorkOptions['turn'], signal: AbortSignal | undefined): Promise<void> {
  const waits = turn?.();
  if (waits) await unlessStopped(waits, signal);
}

/** Why a training was cut off: an erasure made these stages worthless. */
class SupersededError extends Error {
  override name = 'SupersededError';
  readonly plans: readonly StagePlan[];

  constructor(plans: readonly StagePlan[]) {
    super();
    this.plans = plans;
  }
}

/** Whether a training was cut off because of this stage. */
function isSpoilt(plan: StagePlan, { reason }: AbortSignal): boolean {
  return reason instanceof SupersededError && reason.plans.includes(plan);
}
