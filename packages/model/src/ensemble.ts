import {
  argmax,
  type Captured,
  capture,
  concat,
  crossEntropy,
  keep,
  mean,
  reshape,
  slice,
  type Tensor,
  zeros,
} from '@s3t/engine';
import { type LayerAdapter, sideBySide } from './adapter.ts';
import type { HostInputs, Inputs } from './architecture.ts';
import { ModelError } from './errors.ts';
import { Decoder } from './generation/decoder.ts';
import { carriedInputs, copyInputs, hostInputs, placeInputs, writeInputs } from './inputs.ts';
import type { NextTokens } from './llama.ts';
import type { BaseModel } from './model.ts';
import { type LayerRoute, routeStreams } from './route.ts';
import type { Stage } from './stage.ts';

/** The active prefix of one shard: its stages, top-down, with their layers. The last one's head answers. */
export interface EnsembleStack {
  shard: number;
  stages: readonly { layers: readonly number[]; stage: Stage }[];
}

/**
 * Batches are filled up to one of these sizes, each captured once. On a software adapter 64 records would keep the cores busy
 * for a tenth of a second, and whatever is urgent, an erasure for one, waits for what is under way.
 */
const BATCH_SIZES = { software: [1, 4, 16], portable: [1, 4, 16], gpu: [1, 4, 16, 64] } as const;

/** A captured step, and the inputs that are written before it is replayed. */
interface Plan<Outputs> {
  placed: Inputs;
  /** Those that layers read, for several copies of the batch side by side, by how many: written with those of the one. */
  repeated: Map<number, Inputs>;
  step: Captured<Outputs>;
}

/** How one text was foretold, of which some tokens count. */
export interface TokenScores {
  /** How many count. */
  tokens: number;
  /** Mean over shards of their logits: the mean cross-entropy of those that count, and how many were the likeliest. */
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
  /** Of each stack, by layer. */
  readonly #adapters: readonly ReadonlyMap<number, LayerAdapter>[];
  readonly #route: readonly LayerRoute[];
  readonly #plans: Map<number, Plan<Tensor>> = new Map();
  #scoring: Scoring | null = null;
  #decoder: Decoder | null = null;
  /** The adapters of a layer side by side, by layer: copies, made once. */
  readonly #sideBySide: Map<number, LayerAdapter> = new Map();
  #disposed = false;

  /** @param stacks those of shards that serve at least one stage */
  constructor(base: BaseModel, stacks: readonly EnsembleStack[], outputs: number) {
    this.#base = base;
    this.stacks = stacks;
    this.#outputs = outputs;
    this.#adapters = stacks.map(({ stages }) => new Map(stages.flatMap(({ stage }) => [...stage.adapters])));
    this.#route = stacks.length > 0 ? routeStreams(this.#adapters, base.network.architecture.layers) : [];
  }

  get batchSizes(): readonly number[] {
    return BATCH_SIZES[this.#base.device.adapterClass];
  }

  get largestBatch(): number {
    return this.batchSizes.at(-1)!;
  }

  /**
   * The logits of every stack for up to `largestBatch` records.
   * @returns per stack, in their order: [count, outputs]
   * @throws ModelError when the inputs do not fit, or once the ensemble is disposed
   */
  async forward(inputs: HostInputs, count: number): Promise<Float32Array[]> {
    if (this.#disposed) throw new ModelError('forward: the ensemble is disposed');
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
    const plan = this.#planFor(size);
    const host = hostInputs(fields, size);
    copyInputs(fields, inputs, 0, count, host, 0);
    this.#write(host, size, plan);
    const { step } = plan;
    step.replay();
    const logits = await step.outputs.read();
    const perStack = size * this.#outputs;
    return this.stacks.map((_, i) => logits.slice(i * perStack, i * perStack + count * this.#outputs));
  }

  /**
   * Of a language model: how well the stacks foretell a text.
   * @throws ModelError once the ensemble is disposed
   */
  async tokenScores(inputs: HostInputs, { labels, weights }: NextTokens): Promise<TokenScores> {
    if (this.#disposed) throw new ModelError('tokenScores: the ensemble is disposed');
    const scoring = this.#planScoring();
    this.#write(inputs, 1, scoring);
    scoring.labels.write(labels);
    scoring.weights.write(weights);
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
    const tokens = weights.filter((weight) => weight > 0).length;
    return { tokens, ensemble: scores.at(-1)!, stacks: scores.slice(0, -1) };
  }

  /** Of a language model: what continues texts, one at a time. It ends with the ensemble. @throws ModelError once that is disposed */
  decoder(): Decoder {
    if (this.#disposed) throw new ModelError('decoder: the ensemble is disposed');
    const { language, network } = this.#base;
    const { tokens } = network.architecture;
    this.#decoder ??= new Decoder(language!, { stacks: this.#adapters, capacity: tokens });
    return this.#decoder;
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
    this.#decoder?.dispose();
    if (this.#scoring) {
      disposePlan(this.#scoring);
      this.#scoring.labels.dispose();
      this.#scoring.weights.dispose();
      this.#scoring = null;
    }
  }

  #planScoring(): Scoring {
    if (this.#scoring) return this.#scoring;
    const { device, network } = this.#base;
    const { tokens } = network.architecture;
    const labels = zeros(device, [tokens], { dtype: 'u32' });
    const weights = zeros(device, [tokens]);
    const plan = this.#plan(1, (all) => {
      const each = this.stacks.map((_, stack) => reshape(slice(all, 0, stack, 1), all.shape.slice(1)));
      const rows = [...each, mean(all, 0)];
      return {
        losses: rows.map((logits) => crossEntropy(logits, labels, weights)),
        likeliest: rows.map((logits) => argmax(logits)),
      };
    });
    this.#scoring = { ...plan, labels, weights };
    return this.#scoring;
  }

  #planFor(batch: number): Plan<Tensor> {
    const known = this.#plans.get(batch) ?? this.#plan(batch, (logits) => logits);
    this.#plans.set(batch, known);
    return known;
  }

  /** Captures what follows from the logits of all stacks for a batch. */
  #plan<Outputs>(batch: number, from: (logits: Tensor) => Outputs): Plan<Outputs> {
    const { device, network } = this.#base;
    const placed = placeInputs(device, network.architecture.inputs, batch);
    const repeated = new Map<number, Inputs>();
    const step = capture(device, () => from(this.#logits(placed, repeated, batch)));
    return { placed, repeated, step };
  }

  /** Writes the inputs of `batch` records to where a plan reads them. */
  #write(host: HostInputs, batch: number, { placed, repeated }: Plan<unknown>): void {
    const fields = this.#base.network.architecture.inputs;
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
  #logits(inputs: Inputs, repeated: Map<number, Inputs>, batch: number): Tensor {
    const { network } = this.#base;
    const carriedBy = (streams: number) => this.#carried(inputs, repeated, streams, batch);
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
  #carried(inputs: Inputs, repeated: Map<number, Inputs>, streams: number, batch: number): Inputs {
    const { device, network } = this.#base;
    const carried = network.architecture.inputs.filter((field) => field.carried);
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

function disposePlan({ placed, repeated, step }: Plan<unknown>): void {
  step.dispose();
  for (const inputs of [placed, ...repeated.values()])
    for (const input of Object.values(inputs)) input.dispose();
}
