import type { Tensor } from '@s3t/engine';
import type { ActiveStage, AdapterStore } from '@s3t/ledger';
import { type BaseModel, decodeStage, Ensemble, placeStage, type Stage, type StageForm } from '@s3t/model';
import type { EnsembleMode } from './combine.ts';
import { stacksOf } from './setting.ts';

interface PlacedStage {
  layers: readonly number[];
  stage: Stage;
  tensors: readonly Tensor[];
}

/** How many ensembles may still continue texts that began before a publication, each with memory for as many texts as go together. */
const MOST_RETIRED = 2;

/** An ensemble as it is served. Immutable: a change of the active stages makes another. */
export interface Served {
  readonly ensemble: Ensemble;
  readonly version: number;
  readonly manifest: string;
  /** The stages that answer, of all shards. */
  readonly stages: readonly string[];
  readonly depths: readonly { shard: number; depth: number }[];
}

/**
 * What answers. Every active stage lies on the device, served or not, so that the ensemble after an erasure is built
 * without moving a weight.
 */
export class Serving {
  readonly #base: BaseModel;
  readonly #form: StageForm;
  readonly #groups: readonly (readonly number[])[];
  readonly #run: { sequences: readonly number[][]; shards: number };
  readonly #store: AdapterStore;
  /** Of a language model's tokens. */
  readonly #mean: 'logits' | 'probabilities';
  readonly #placed: Map<string, PlacedStage> = new Map();
  #served: Served | null = null;
  #validSince: number | null = null;
  /** The stages of every version from `validSince` on. */
  readonly #answering: Set<string> = new Set();
  /** Texts that an ensemble continues, by what they began with. */
  readonly #texts: Map<Served, number> = new Map();
  /** Not served any more, but valid: their texts go on. */
  readonly #retired: Set<Served> = new Set();
  #retirement: PromiseWithResolvers<void> | null = null;

  constructor(parts: {
    base: BaseModel;
    form: StageForm;
    run: { sequences: readonly number[][]; shards: number };
    store: AdapterStore;
    groups: readonly (readonly number[])[];
    ensemble: EnsembleMode | undefined;
  }) {
    this.#base = parts.base;
    this.#form = parts.form;
    this.#run = parts.run;
    this.#store = parts.store;
    this.#groups = parts.groups;
    this.#mean = parts.ensemble === 'mean-probabilities' ? 'probabilities' : 'logits';
  }

  /** What answers now; null when no shard has a stage. */
  get served(): Served | null {
    return this.#served;
  }

  /** The oldest version that may still answer: of it and those since every stage is active. Null when nothing is served. */
  get validSince(): number | null {
    return this.#validSince;
  }

  /** Whether what began with an ensemble may go on: it is served, or still valid. */
  mayGoOn(served: Served): boolean {
    return served === this.#served || this.#retired.has(served);
  }

  /**
   * What a text begins with, and how to say that it has ended: until then a publication leaves the ensemble to it. Waits while too
   * many ensembles still have texts.
   * @returns null when nothing is served @throws whatever `signal` aborts the waiting with
   */
  async begin(signal?: AbortSignal): Promise<{ served: Served; end: () => void } | null> {
    const aborted = Promise.withResolvers<never>();
    aborted.promise.catch(() => {});
    const abort = () => aborted.reject(signal!.reason);
    signal?.addEventListener('abort', abort);
    try {
      signal?.throwIfAborted();
      while (this.#served && !this.#texts.has(this.#served) && this.#retired.size >= MOST_RETIRED) {
        this.#retirement ??= Promise.withResolvers();
        await Promise.race([this.#retirement.promise, aborted.promise]);
      }
    } finally {
      signal?.removeEventListener('abort', abort);
    }
    const served = this.#served;
    if (!served) return null;
    this.#texts.set(served, (this.#texts.get(served) ?? 0) + 1);
    return { served, end: () => this.#end(served) };
  }

  #end(served: Served): void {
    const left = this.#texts.get(served)! - 1;
    if (left > 0) this.#texts.set(served, left);
    else {
      this.#texts.delete(served);
      if (this.#retired.delete(served)) served.ensemble.dispose();
      this.#tellWaiting();
    }
  }

  #tellWaiting(): void {
    this.#retirement?.resolve();
    this.#retirement = null;
  }

  /** Brings newly active stages onto the device. Call it before `switchTo`, which must not wait. */
  async place(active: readonly ActiveStage[]): Promise<void> {
    for (const { id, position, weights } of active) {
      if (this.#placed.has(id)) continue;
      const layers = this.#groups[position]!;
      const bytes = await this.#store.get(weights);
      const values = decodeStage(
        bytes as Uint8Array<ArrayBuffer>,
        this.#form,
        layers,
        this.#store.path(weights),
      );
      const { stage, parameters } = placeStage(this.#base.device, this.#form, layers, values, 'serve');
      this.#placed.set(id, { layers, stage, tensors: [...parameters.values()] });
    }
  }

  /**
   * Serves the best prefixes of the active stages from now on, and destroys the weights of every other stage on the
   * device. Synchronous: there is no moment between two ensembles. What is served stays where it is the same stages, and texts end on the
   * ensemble that they began with; but where a stage that answered since `validSince` is not active any more, every ensemble before
   * ends in this moment.
   */
  switchTo(active: readonly ActiveStage[], version: { version: number; manifest: string }): void {
    const before = this.#served;
    const isActive = new Set(active.map(({ id }) => id));
    const isSame =
      before?.version === version.version &&
      before.manifest === version.manifest &&
      before.stages.every((id) => isActive.has(id));
    if (!isSame) this.#served = this.servedOf(active, version);
    if ([...this.#answering].some((id) => !isActive.has(id))) {
      this.#endRetired();
      this.#validSince = null;
      this.#answering.clear();
    } else if (!isSame && before && this.#texts.has(before)) this.#retired.add(before);
    this.#validSince = this.#served && (this.#validSince ?? version.version);
    for (const id of this.#served?.stages ?? []) this.#answering.add(id);
    // What it still computes was queued on the device before: its memory is not reused until then.
    if (!isSame && before && !this.#retired.has(before)) before.ensemble.dispose();
    this.#tellWaiting();
    for (const [id, { tensors }] of this.#placed) {
      if (isActive.has(id)) continue;
      for (const tensor of tensors) tensor.destroy();
      this.#placed.delete(id);
    }
  }

  /** What would be served if these stages were active, all of which lie on the device: see `ensembleOf`. Null for nothing. */
  servedOf(active: readonly ActiveStage[], version: { version: number; manifest: string }): Served | null {
    const stacks = stacksOf(active, this.#run.sequences, this.#run.shards).filter(({ depth }) => depth > 0);
    if (stacks.length === 0) return null;
    return {
      ...version,
      ensemble: this.ensembleOf(stacks),
      stages: stacks.flatMap(({ stages }) => stages),
      depths: stacks.map(({ shard, depth }) => ({ shard, depth })),
    };
  }

  /**
   * An ensemble of other stacks than those served, of active stages. Whoever asked for it disposes it, and uses it no more once one of
   * its stages is erased.
   */
  ensembleOf(stacks: readonly { shard: number; stages: readonly string[] }[]): Ensemble {
    return new Ensemble(
      this.#base,
      stacks.map(({ shard, stages }) => ({ shard, stages: stages.map((id) => this.#placed.get(id)!) })),
      this.#form.outputs,
      this.#mean,
    );
  }

  #endRetired(): void {
    for (const { ensemble } of this.#retired) ensemble.dispose();
    this.#retired.clear();
  }

  /** Serves nothing from when the device is lost on. Resolves with why it was. */
  async stopWith(lost: Promise<Error>): Promise<Error> {
    const error = await lost;
    try {
      this.stop();
    } catch {
      // Nothing is served by then; the weights that it cannot destroy went with the device.
    }
    return error;
  }

  /** Serves nothing, and destroys every weight on the device. */
  stop(): void {
    const before = this.#served;
    this.#served = null;
    this.#validSince = null;
    this.#answering.clear();
    before?.ensemble.dispose();
    this.#endRetired();
    this.#tellWaiting();
    for (const { tensors } of this.#placed.values()) for (const tensor of tensors) tensor.destroy();
    this.#placed.clear();
  }
}
