import { planStages, type StagePlan, type StageSetting, sliceDigest } from '@s3t/algorithm';
import type { Ledger } from '@s3t/ledger';
import {
  adapterGroups,
  type BaseModel,
  decodeStage,
  type FrozenStage,
  type StageForm,
  stageSteps,
} from '@s3t/model';
import type { RunConfig } from './config.ts';
import { KeptActivations } from './kept-activations.ts';
import type { RunRecord } from './run-data.ts';
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
  emit: (event: UnlearnerEvent) => void;
  /** Called after a stage was published, before the next one starts. */
  published: (version: { version: number; manifest: string }) => Promise<void>;
}

/**
 * The loop over the stages that are wanted and missing: first training, resuming and repair alike. Nothing else decides what
 * is trained, so it may be stopped and started anywhere.
 */
export class Worker {
  readonly #parts: WorkerParts;
  #wanted: WantedStages | null = null;
  #kept: { shard: number; activations: KeptActivations } | null = null;
  #current: { plan: StagePlan; abort: AbortController } | null = null;

  constructor(parts: WorkerParts) {
    this.#parts = parts;
  }

  /** Every stage the configuration wants over the records that remain. */
  async wanted(): Promise<WantedStages> {
    if (this.#wanted) return this.#wanted;
    const { ledger, config, setting, sequences } = this.#parts;
    // Revisions first: an erasure in between makes the plan look old and not new.
    const revisions = await ledger.revisions();
    const slices: { key: string; digest: string }[][][] = Array.from({ length: config.shards }, () =>
      Array.from({ length: config.slices }, () => []),
    );
    for await (const { shard, slice, key, digest } of ledger.records())
      slices[shard]![slice]!.push({ key, digest });
    const sliceDigests = slices.map((shard) => shard.map(sliceDigest));
    const plan = planStages({ setting, sequences, sliceDigests });
    this.#wanted = { plan, revisions, counts: slices.map((shard) => shard.map((records) => records.length)) };
    return this.#wanted;
  }

  /** Takes note of an erasure: forgets the records and stops the stage that was learning from one of them. */
  erased(keys: readonly string[], touches: (plan: StagePlan) => boolean): void {
    this.#wanted = null;
    for (const key of keys) this.#kept?.activations.forget(key);
    if (this.#current && touches(this.#current.plan)) this.#current.abort.abort(new SupersededError());
  }

  /** Trains what is missing, until nothing is. */
  async run({ shards, signal }: WorkOptions = {}): Promise<TrainingSummary> {
    const { emit } = this.#parts;
    const began = performance.now();
    const summary = { trained: 0, superseded: 0 };
    let announced = -1;
    let doneSteps = 0;
    try {
      for (;;) {
        signal?.throwIfAborted();
        const missing = await this.#missing(shards);
        const [next] = missing;
        if (!next) break;
        const totalSteps = doneSteps + missing.reduce((sum, plan) => sum + this.#stepsOf(plan), 0);
        const stages = summary.trained + missing.length;
        if (announced !== stages) emit({ type: 'work-started', stages, steps: totalSteps });
        announced = stages;
        const steps = { done: doneSteps, total: totalSteps };
        const isPublished = await this.#trainOne(next, { index: summary.trained, stages, steps }, signal);
        if (isPublished) {
          summary.trained++;
          doneSteps += this.#stepsOf(next);
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

  async #missing(shards: readonly number[] | undefined): Promise<StagePlan[]> {
    const { plan } = await this.wanted();
    const active = new Set((await this.#parts.ledger.activeStages()).map(({ id }) => id));
    return plan.filter(({ id, shard }) => !active.has(id) && (!shards || shards.includes(shard)));
  }

  #stepsOf(plan: StagePlan): number {
    return stageSteps(this.#recordsOf(plan), this.#parts.config.training);
  }

  #recordsOf({ shard, slices }: StagePlan): number {
    const counts = this.#wanted?.counts[shard];
    return counts ? slices.reduce((sum, slice) => sum + counts[slice]!, 0) : 0;
  }

  /** Trains and publishes one stage. Returns false when an erasure made it worthless meanwhile. */
  async #trainOne(
    plan: StagePlan,
    place: { index: number; stages: number; steps: { done: number; total: number } },
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    const { ledger, base, form, config, emit, published } = this.#parts;
    const { revisions } = await this.wanted();
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
        { base, form, config, activations, prefix, records },
        plan,
        ({ step, steps, loss }) =>
          emit({ type: 'step', stage: id, step, steps, doneSteps: done + step, totalSteps: total, loss }),
        either,
      );
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
        emit({ type: 'stage-superseded', stage: id, shard, position });
        return false;
      }
      await published(result);
      emit({ type: 'stage-published', stage: id, weights, shard, position, version: result.version });
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
    return stored.flat().map(({ key }) => all.get(key)!);
  }

  async #activationsOf(shard: number, signal: AbortSignal): Promise<KeptActivations> {
    if (this.#kept?.shard === shard) return this.#kept.activations;
    this.#kept?.activations.clear();
    const { base, config, ledger, records } = this.#parts;
    const all = await records();
    const own: RunRecord[] = [];
    for (let slice = 0; slice < config.slices; slice++)
      for (const { key } of await ledger.sliceRecords(shard, slice)) own.push(all.get(key)!);
    const layers = adapterGroups(base.config.num_hidden_layers, config.slices).map((group) =>
      Math.min(...group),
    );
    this.#kept = { shard, activations: await KeptActivations.compute(base, own, layers, signal) };
    return this.#kept.activations;
  }

  /** The values of the stages that a stage is trained on top of, top-down. */
  async #prefixOf(plan: StagePlan): Promise<FrozenStage[]> {
    const { ledger, base, form, config } = this.#parts;
    const active = new Map((await ledger.activeStages(plan.shard)).map((stage) => [stage.id, stage]));
    const groups = adapterGroups(base.config.num_hidden_layers, config.slices);
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

/** Why a stage's training was cut off: an erasure made it worthless. */
class SupersededError extends Error {
  override name = 'SupersededError';
}
