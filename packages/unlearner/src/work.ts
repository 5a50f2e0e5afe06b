import { planStages, type StagePlan, type StageSetting } from '@s3t/algorithm';
import type { ActiveStage, Ledger } from '@s3t/ledger';
import { type BaseModel, decodeStage, type FrozenStage, type StageForm, stageSteps } from '@s3t/model';
import type { RunConfig } from './config.ts';
import { KeptActivations } from './kept-activations.ts';
import type { RightOfWay } from './right-of-way.ts';
import type { RunRecord } from './run-data.ts';
import { groupsOf } from './setting.ts';
import { SliceDigests, type SliceState } from './slice-digests.ts';
import type { StageMeter } from './stage-meter.ts';
import { workStage } from './stage-work.ts';
import type { TrainingSummary, UnlearnerEvent, WorkOptions } from './types.ts';

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
  /** Runs a section with no erasure in between. */
  exclusively: <T>(section: () => Promise<T>) => Promise<T>;
  /** Serves what is active now. Called within `exclusively`. */
  refresh: () => Promise<void>;
  /** Takes note that no stage is missing; false when one is after all. */
  completed: (isComplete: () => Promise<boolean>) => Promise<boolean>;
}

/**
 * The loop over the stages that are wanted and missing: first training, resuming and repair alike. Nothing else decides what
 * is trained, so it may be stopped and started anywhere.
 */
export class Worker {
  readonly #parts: WorkerParts;
  readonly #slices: SliceDigests;
  #wanted: Promise<WantedStages> | null = null;
  #kept: { shard: number; activations: KeptActivations } | null = null;
  #current: { plan: StagePlan; abort: AbortController } | null = null;

  constructor(parts: WorkerParts) {
    this.#parts = parts;
    this.#slices = new SliceDigests(parts.ledger);
  }

  /** Every stage the configuration wants over the records that remain. One that an erasure overtakes is not kept. */
  wanted(): Promise<WantedStages> {
    if (this.#wanted) return this.#wanted;
    const planned = this.#plan();
    this.#wanted = planned;
    planned.catch(() => {
      if (this.#wanted === planned) this.#wanted = null;
    });
    return planned;
  }

  async #plan(): Promise<WantedStages> {
    const { setting, sequences } = this.#parts;
    // The revisions belong to this plan for good: with newer ones, a stage that was trained without a record could be published under
    // the id of one that learnt from it.
    const slices = await this.#slices.read();
    const each = <T>(of: (slice: SliceState) => T) => slices.map((shard) => shard.map(of));
    return {
      plan: planStages({ setting, sequences, sliceDigests: each(({ digest }) => digest) }),
      revisions: each(({ revision }) => revision),
      counts: each(({ records }) => records),
    };
  }

  /** Takes note of an erasure: forgets the records and stops the stage that was learning from one of them. Synchronous. */
  erased(keys: readonly string[], touches: (plan: StagePlan) => boolean): void {
    this.#wanted = null;
    for (const key of keys) this.#kept?.activations.forget(key);
    if (this.#current && touches(this.#current.plan)) this.#current.abort.abort(new SupersededError());
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
        signal?.throwIfAborted();
        const wanted = await this.wanted();
        const missing = await this.#missing(wanted, shards);
        const [next] = missing;
        if (!next) {
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
        const isPublished = await this.#trainOne(next, wanted, place, { signal, turn });
        if (isPublished) {
          summary.trained++;
          doneSteps += stepsOf(next);
        } else {
          summary.superseded++;
        }
      }
    } finally {
      this.#kept?.activations.clear();
      this.#kept = null;
    }
    emit({ type: 'work-finished', trained: summary.trained });
    return { ...summary, seconds: (performance.now() - began) / 1000 };
  }

  async #missing({ plan }: WantedStages, shards: readonly number[] | undefined): Promise<StagePlan[]> {
    const isPresent = presence(await this.#parts.ledger.activeStages());
    return plan.filter((stage) => !isPresent(stage) && (!shards || shards.includes(stage.shard)));
  }

  async #isComplete(): Promise<boolean> {
    return (await this.#missing(await this.wanted(), undefined)).length === 0;
  }

  /** Trains and publishes one stage. Returns false when an erasure made it worthless meanwhile. */
  async #trainOne(
    plan: StagePlan,
    { revisions }: WantedStages,
    place: { index: number; stages: number; steps: { done: number; total: number } },
    { signal, turn }: Pick<WorkOptions, 'signal' | 'turn'>,
  ): Promise<boolean> {
    const { ledger, base, form, config, meter, erasures, emit, exclusively, refresh } = this.#parts;
    const { id, shard, position, slices } = plan;
    emit({
      type: 'stage-started',
      stage: id,
      shard,
      position,
      slices,
      index: place.index,
      stages: place.stages,
    });
    const abort = new AbortController();
    this.#current = { plan, abort };
    const either = signal ? AbortSignal.any([signal, abort.signal]) : abort.signal;
    try {
      const records = await this.#lineageRecords(plan);
      const activations = await this.#activationsOf(shard, either);
      const prefix = await this.#prefixOf(plan);
      const { done, total } = place.steps;
      const { bytes } = await workStage(
        {
          ...{ base, form, config, activations, prefix, records },
          meter: await meter(),
          turn: async () => {
            await turnOf(turn, either);
            await erasures.clear();
          },
        },
        plan,
        ({ step, steps, loss }) =>
          emit({ type: 'step', stage: id, step, steps, doneSteps: done + step, totalSteps: total, loss }),
        either,
      );
      // As one section: no byte that learnt from a record is written once its erasure was acknowledged, and what is served
      // is always what its version says.
      const published = await exclusively(async () => {
        abort.signal.throwIfAborted();
        const weights = await ledger.adapters.put(bytes);
        const result = await ledger.publishStage({
          id,
          shard,
          position,
          slices: [...slices],
          sequences: [...plan.sequences],
          parent: plan.parent,
          lineage: [...plan.lineage],
          weights,
          records: records.length,
          guard: slices.map((slice) => revisions[shard]![slice]!),
        });
        if (!result.published) {
          await ledger.adapters.destroy(weights);
          this.#wanted = null;
          throw new SupersededError();
        }
        await refresh();
        return { weights, version: result.version };
      });
      emit({ type: 'stage-published', stage: id, shard, position, ...published });
      return true;
    } catch (error) {
      if (!(error instanceof SupersededError)) throw error;
      emit({ type: 'stage-superseded', stage: id, shard, position });
      return false;
    } finally {
      this.#current = null;
    }
  }

  async #lineageRecords({ shard, slices }: StagePlan): Promise<RunRecord[]> {
    const all = await this.#parts.records();
    const stored = await Promise.all(slices.map((slice) => this.#parts.ledger.sliceRecords(shard, slice)));
    return stored.flat().map(({ key }) => {
      const record = all.get(key);
      // An erasure took it since the plan was made.
      if (!record) throw new SupersededError();
      return record;
    });
  }

  async #activationsOf(shard: number, signal: AbortSignal): Promise<KeptActivations> {
    if (this.#kept?.shard === shard) return this.#kept.activations;
    this.#kept?.activations.clear();
    this.#kept = null;
    const { base, form, config, ledger, records, folder } = this.#parts;
    const all = await records();
    const own: RunRecord[] = [];
    for (let slice = 0; slice < config.slices; slice++)
      for (const { key } of await ledger.sliceRecords(shard, slice)) {
        const record = all.get(key);
        if (record) own.push(record);
      }
    const layers = groupsOf(form, config).map((group) => Math.min(...group));
    const activations = await KeptActivations.compute({ base, records: own, layers, config, folder, signal });
    // Those erased while they were computed: from here on `erased` sees to it.
    for (const { key } of own) if (!all.has(key)) activations.forget(key);
    this.#kept = { shard, activations };
    return activations;
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
      if (!stage) throw new SupersededError();
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
  if (!waits) return;
  if (!signal) return waits;
  const stopped = Promise.withResolvers<never>();
  const stop = () => stopped.reject(signal.reason);
  signal.addEventListener('abort', stop);
  try {
    signal.throwIfAborted();
    await Promise.race([waits, stopped.promise]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** Why a stage's training was cut off: an erasure made it worthless. */
class SupersededError extends Error {
  override name = 'SupersededError';
}
