import {
  argmax,
  type Captured,
  capture,
  concat,
  crossEntropy,
  type Device,
  keep,
  log,
  mean,
  prepare,
  reshape,
  slice,
  softmax,
  type Tensor,
  zeros,
} from '@s3t/engine';
import { type LayerAdapter, sideBySide } from './adapter.ts';
import type { HostInputs, InputField, Inputs } from './architecture.ts';
import { bucketFor } from './batches.ts';
import { ModelError } from './errors.ts';
import { ContinuousBatch, type ContinuousBatchOptions } from './generation/continuous-batch.ts';
import { Decoder } from './generation/decoder.ts';
import {
  carriedInputs,
  copyInputs,
  fieldsAt,
  hostInputs,
  placeInputs,
  recordOf,
  writeInputs,
} from './inputs.ts';
import type { NextTokens } from './llama.ts';
import type { BaseModel } from './model.ts';
import { ownedUnless } from './owned.ts';
import { type LayerRoute, routeStreams } from './route.ts';
import type { Stage } from './stage.ts';

/** The active prefix of one shard: its stages, top-down, with their layers. The last one's head answers. */
export interface EnsembleStack {
  shard: number;
  stages: readonly { layers: readonly number[]; stage: Stage }[];
}

const BATCH_SIZES = { software: [1, 4, 16], portable: [1, 4, 16], gpu: [1, 4, 16, 64] } as const;

/** Batches are filled up to one of these sizes, each captured once. On a software adapter more of them at once are hardly answered faster. */
export function batchSizes({ adapterClass }: Device): readonly number[] {
  return BATCH_SIZES[adapterClass];
}

/** A captured step, and the inputs that are written before it is replayed. */
interface Plan<Outputs> {
  /** As long as its rows. */
  fields: readonly InputField[];
  placed: Inputs;
  /** Those that layers read, for several copies of the batch side by side, by how many: written with those of the one. */
  repeated: Map<number, Inputs>;
  step: Captured<Outputs>;
}

export interface ForwardOptions {
  /** Tokens that records are padded to at least. Default 0. */
  least?: number;
  /** Once aborted, what is not on the device yet is not computed any more. */
  signal?: AbortSignal | undefined;
}

/** How one text was foretold, of which some tokens count. */
export interface TokenScores {
  /** How many count. */
  tokens: number;
  /** Of the mean over shards: the mean cross-entropy of those that count, and how many were the likeliest. */
  ensemble: TokenScore;
  /** Each stack by itself, in their order. */
  stacks: TokenScore[];
}

export interface TokenScore {
  loss: number;
  right: number;
}

/** The plan behind `tokenScores`: per stack, and last of their mean. */
interface Scoring extends Plan<{ losses: Tensor[]; likeliest: Tensor[] }> {
  labels: Tensor;
  weights: Tensor;
}

/**
 * All shards' stacks over one base, as served. Immutable: an erasure builds another. The trunk runs once; a shard's stream
 * leaves it at the shard's own deepest layer, and shards that are still bare share one stream. The others run side by side as
 * one batch: the base's products are shared, each part of the batch has its shard's adapter.
 */
export class Ensemble {
  readonly stacks: readonly EnsembleStack[];
  readonly #base: BaseModel;
  readonly #outputs: number;
  readonly #mean: 'logits' | 'probabilities';
  /** Of each stack, by layer. */
  readonly #adapters: readonly ReadonlyMap<number, LayerAdapter>[];
  readonly #route: readonly LayerRoute[];
  /** By rows and tokens. */
  readonly #plans: Map<string, Plan<Tensor>> = new Map();
  /** By tokens. */
  readonly #scoring: Map<number, Scoring> = new Map();
  /** Resolves when the inputs may be written and the step replayed again. */
  #pass: Promise<unknown> = Promise.resolve();
  #texts: { batch: ContinuousBatch; decoder: Decoder } | null = null;
  /** The adapters of a layer side by side, by layer: copies, made once. */
  readonly #sideBySide: Map<number, LayerAdapter> = new Map();
  #disposed = false;

  /**
   * @param stacks those of shards that serve at least one stage
   * @param mean what of a language model's tokens is the mean over stacks
   */
  constructor(
    base: BaseModel,
    stacks: readonly EnsembleStack[],
    outputs: number,
    mean: 'logits' | 'probabilities' = 'logits',
  ) {
    this.#mean = mean;
    this.#base = base;
    this.stacks = stacks;
    this.#outputs = outputs;
    this.#adapters = stacks.map(({ stages }) => new Map(stages.flatMap(({ stage }) => [...stage.adapters])));
    this.#route = stacks.length > 0 ? routeStreams(this.#adapters, base.network.architecture.layers) : [];
  }

  get batchSizes(): readonly number[] {
    return batchSizes(this.#base.device);
  }

  get largestBatch(): number {
    return this.batchSizes.at(-1)!;
  }

  /** Compiles side by side what batches of every size and length need. */
  async prepare(): Promise<void> {
    if (this.#disposed) throw disposed('prepare');
    const { device, network, buckets } = this.#base;
    const plans = buckets.flatMap((tokens) => {
      const fields = fieldsAt(network.architecture.inputs, tokens);
      return this.batchSizes.map((batch) => {
        const placed = placeInputs(device, fields, batch);
        return { batch, fields, placed, repeated: new Map<number, Inputs>() };
      });
    });
    try {
      await prepare(device, () => {
        for (const { batch, fields, placed, repeated } of plans)
          this.#logits(fields, placed, repeated, batch);
      });
    } finally {
      for (const plan of plans) disposeInputs(plan);
    }
  }

  /**
   * The logits of every stack for up to `largestBatch` records, padded to the longest among them: their bits depend on neither.
   * @returns per stack, in their order: [count, outputs]
   * @throws ModelError when the inputs do not fit, or once the ensemble is disposed; what `signal` was aborted with
   */
  async forward(
    inputs: HostInputs,
    count: number,
    { least = 0, signal }: ForwardOptions = {},
  ): Promise<Float32Array[]> {
    if (this.#disposed) throw disposed('forward');
    const size = this.batchSizes.find((batch) => batch >= count);
    if (!size) throw new ModelError(`forward: ${count} records are more than ${this.largestBatch}`);
    const fields = this.#base.network.architecture.inputs;
    for (const { name, shape } of fields) {
      const values = inputs[name]?.length ?? 0;
      if (values !== shape.reduce((product, extent) => product * extent, count))
        throw new ModelError(
          `forward: ${name}: ${values} values are not those of ${count} records [${shape}]`,
        );
    }
    const longest = Array.from({ length: count }, (_, i) => this.#base.lengthOf(recordOf(inputs, i, count)));
    const tokens = bucketFor(this.#base.buckets, Math.max(least, ...longest));
    const plan = this.#planFor(size, tokens);
    const cut = fieldsAt(fields, tokens);
    const host = hostInputs(cut, size);
    copyInputs(fields, inputs, 0, count, host, 0, cut);
    const run = async () => {
      if (this.#disposed) throw disposed('forward');
      this.#write(host, size, plan);
      await plan.step.replayInParts(signal);
      // Queued on the device before whatever the next pass writes: that need not wait until it has been read.
      return { read: plan.step.outputs.read() };
    };
    const pass = this.#pass.then(run);
    this.#pass = pass.catch(() => {});
    const logits = await pass
      .then(({ read }) => read)
      .catch((error) => {
        throw this.#disposed ? disposed('forward') : error;
      });
    const perStack = size * this.#outputs;
    return this.stacks.map((_, i) => logits.slice(i * perStack, i * perStack + count * this.#outputs));
  }

  /**
   * Of a language model: how well the stacks foretell a text.
   * @throws ModelError once the ensemble is disposed
   */
  async tokenScores(inputs: HostInputs, { labels, weights }: NextTokens): Promise<TokenScores> {
    if (this.#disposed) throw disposed('tokenScores');
    const tokens = bucketFor(this.#base.buckets, this.#base.lengthOf(inputs));
    const scoring = this.#planScoring(tokens);
    const { inputs: fields } = this.#base.network.architecture;
    const host = hostInputs(scoring.fields, 1);
    copyInputs(fields, inputs, 0, 1, host, 0, scoring.fields);
    this.#write(host, 1, scoring);
    scoring.labels.write(labels.subarray(0, tokens));
    scoring.weights.write(weights.subarray(0, tokens));
    scoring.step.replay();
    const { losses, likeliest } = scoring.step.outputs;
    const scores = await Promise.all(
      losses.map(async (loss, i): Promise<TokenScore> => {
        const [value, ids] = await Promise.all([loss.item(), likeliest[i]!.readUint32()]);
        return {
          loss: value,
          right: labels.filter((label, at) => weights[at]! > 0 && ids[at] === label).length,
        };
      }),
    );
    const counted = weights.filter((weight) => weight > 0).length;
    return { tokens: counted, ensemble: scores.at(-1)!, stacks: scores.slice(0, -1) };
  }

  /**
   * Of a language model: what continues texts together. It ends with the ensemble.
   * @param options how many at once, and when; of the first call
   * @throws ModelError once the ensemble is disposed
   */
  texts({ slots, ...options }: ContinuousBatchOptions & { slots: number }): ContinuousBatch {
    if (this.#disposed) throw disposed('texts');
    if (!this.#texts) {
      const { language, network } = this.#base;
      const decoder = new Decoder(language!, {
        stacks: this.#adapters,
        mean: this.#mean,
        capacity: network.architecture.tokens,
        slots,
      });
      this.#texts = { batch: new ContinuousBatch(decoder, options), decoder };
    }
    return this.#texts.batch;
  }

  /** Frees the captured plans, and zeroes the copies of adapters. The stages belong to whoever placed them. */
  dispose(): void {
    this.#disposed = true;
    for (const { pairs } of this.#sideBySide.values())
      for (const pair of Object.values(pairs)) {
        pair.down.destroy();
        pair.up.destroy();
      }
    this.#sideBySide.clear();
    for (const plan of this.#plans.values()) disposePlan(plan);
    this.#plans.clear();
    this.#texts?.batch.close(disposed('texts'));
    this.#texts?.decoder.dispose();
    for (const scoring of this.#scoring.values()) {
      disposePlan(scoring);
      scoring.labels.dispose();
      scoring.weights.dispose();
    }
    this.#scoring.clear();
  }

  #planScoring(tokens: number): Scoring {
    const known = this.#scoring.get(tokens);
    if (known) return known;
    const { device } = this.#base;
    const labels = zeros(device, [tokens], { dtype: 'u32' });
    const weights = zeros(device, [tokens]);
    const plan = this.#plan(1, tokens, (all) => {
      const each = this.stacks.map((_, stack) => reshape(slice(all, 0, stack, 1), all.shape.slice(1)));
      // The logarithms of probabilities are logits, too: they are their own softmax's.
      const together = this.#mean === 'logits' ? mean(all, 0) : log(mean(softmax(all), 0));
      const rows = [...each, together];
      return {
        losses: rows.map((logits) => crossEntropy(logits, labels, weights)),
        likeliest: rows.map((logits) => argmax(logits)),
      };
    });
    const scoring = { ...plan, labels, weights };
    this.#scoring.set(tokens, scoring);
    return scoring;
  }

  #planFor(batch: number, tokens: number): Plan<Tensor> {
    const key = `${batch}/${tokens}`;
    const known = this.#plans.get(key) ?? this.#plan(batch, tokens, (logits) => logits);
    this.#plans.set(key, known);
    return known;
  }

  /** Captures what follows from the logits of all stacks for a batch. */
  #plan<Outputs>(batch: number, tokens: number, from: (logits: Tensor) => Outputs): Plan<Outputs> {
    const { device, network } = this.#base;
    const fields = fieldsAt(network.architecture.inputs, tokens);
    return ownedUnless((owned) => {
      const inputs = { placed: placeInputs(device, fields, batch), repeated: new Map<number, Inputs>() };
      const { placed, repeated } = owned.add(inputs, disposeInputs);
      const step = capture(device, () => from(this.#logits(fields, placed, repeated, batch)));
      return { fields, placed, repeated, step };
    });
  }

  /** Writes the inputs of `batch` records to where a plan reads them. */
  #write(host: HostInputs, batch: number, { fields, placed, repeated }: Plan<unknown>): void {
    writeInputs(fields, host, placed);
    const carried = fields.filter((field) => field.carried);
    for (const [streams, inputs] of repeated) {
      const copies = hostInputs(carried, streams * batch);
      for (let stream = 0; stream < streams; stream++)
        copyInputs(carried, host, 0, batch, copies, stream * batch);
      writeInputs(carried, copies, inputs);
    }
  }

  /** @param repeated takes what has to be written beside `inputs` */
  #logits(
    fields: readonly InputField[],
    inputs: Inputs,
    repeated: Map<number, Inputs>,
    batch: number,
  ): Tensor {
    const { network } = this.#base;
    const carried = fields.filter((field) => field.carried);
    const carriedBy = (streams: number) => this.#carried(carried, inputs, repeated, streams, batch);
    let bare = network.embed(inputs);
    // Side by side along the first axis, in the order in which they leave the trunk.
    let streams: Tensor | null = null;
    this.#route.forEach(({ leaving, running, trunk }, layer) => {
      const parts: Tensor[] = [...(streams ? [streams] : []), ...leaving.map(() => bare)];
      if (parts.length > 0) {
        const x = parts.length === 1 ? parts[0]! : concat(parts, 0);
        const adapter = this.#adapterOf(layer, running);
        streams = network.layer(layer, x, { inputs: carriedBy(running.length), adapter });
      }
      if (trunk) bare = network.layer(layer, bare, { inputs: carriedBy(1) });
    });
    const { running } = this.#route.at(-1)!;
    const logits = this.stacks.map(({ stages }, stack) => {
      const own = slice(streams!, 0, running.indexOf(stack) * batch, batch);
      return network.logits(own, stages.at(-1)!.stage.head);
    });
    return concat(logits, 0);
  }

  /** The inputs that layers read, for several copies of the batch side by side. */
  #carried(
    carried: readonly InputField[],
    inputs: Inputs,
    repeated: Map<number, Inputs>,
    streams: number,
    batch: number,
  ): Inputs {
    const { device } = this.#base;
    if (streams === 1) return carriedInputs(carried, inputs);
    const known =
      repeated.get(streams) ??
      device.outsideCapture(() => {
        const copies = placeInputs(device, carried, streams * batch);
        for (const copy of Object.values(copies)) keep(copy);
        return copies;
      });
    repeated.set(streams, known);
    return known;
  }

  /** The adapters that some stacks have in a layer, side by side in their order. A single one stays as it is. */
  #adapterOf(layer: number, stacks: readonly number[]): LayerAdapter {
    const adapters = stacks.map((stack) => this.#adapters[stack]!.get(layer)!);
    if (adapters.length === 1) return adapters[0]!;
    const known = this.#sideBySide.get(layer) ?? this.#base.device.outsideCapture(() => sideBySide(adapters));
    this.#sideBySide.set(layer, known);
    return known;
  }
}

function disposed(what: string): ModelError {
  return new ModelError(`${what}: the ensemble is disposed`);
}

function disposePlan(plan: Plan<unknown>): void {
  plan.step.dispose();
  disposeInputs(plan);
}

function disposeInputs({ placed, repeated }: Pick<Plan<unknown>, 'placed' | 'repeated'>): void {
  for (const inputs of [placed, ...repeated.values()])
    for (const input of Object.values(inputs)) input.dispose();
}
