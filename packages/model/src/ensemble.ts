import {
  argmax,
  type Captured,
  capture,
  concat,
  crossEntropy,
  keep,
  mean,
  reshape,
  scope,
  slice,
  type Tensor,
  zeros,
} from '@s3t/engine';
import type { LayerAdapter, LoraPair } from './adapter.ts';
import type { HostInputs, Inputs } from './architecture.ts';
import { ModelError } from './errors.ts';
import { Decoder } from './generation/decoder.ts';
import { carriedInputs, copyInputs, hostInputs, placeInputs, writeInputs } from './inputs.ts';
import type { NextTokens } from './llama.ts';
import type { BaseModel } from './model.ts';
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

interface Plan {
  placed: Inputs;
  repeated: Repeated;
  step: Captured<Tensor>;
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

/** The inputs that layers read, for several copies of the batch side by side, by how many. They are written with those of the one. */
type Repeated = Map<number, Inputs>;

/** The captured step behind `tokenScores`: per stack, and last of their mean. */
interface Scoring {
  placed: Inputs;
  repeated: Repeated;
  labels: Tensor;
  weights: Tensor;
  step: Captured<{ losses: Tensor[]; likeliest: Tensor[] }>;
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
  readonly #plans: Map<number, Plan> = new Map();
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
    const stacks = this.stacks.map(
      ({ stages }) => new Map(stages.flatMap(({ stage }) => [...stage.adapters])),
    );
    this.#decoder ??= new Decoder(language!, { stacks, capacity: network.architecture.tokens });
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
    for (const { placed, repeated, step } of this.#plans.values()) {
      step.dispose();
      for (const inputs of [placed, ...repeated.values()])
        for (const input of Object.values(inputs)) input.dispose();
    }
    this.#plans.clear();
    this.#decoder?.dispose();
    if (this.#scoring) {
      const { placed, repeated, labels, weights, step } = this.#scoring;
      step.dispose();
      const inputs = [placed, ...repeated.values()].flatMap((each) => Object.values(each));
      for (const tensor of [...inputs, labels, weights]) tensor.dispose();
      this.#scoring = null;
    }
  }

  #planScoring(): Scoring {
    if (this.#scoring) return this.#scoring;
    const { device, network } = this.#base;
    const { inputs, tokens } = network.architecture;
    const placed = placeInputs(device, inputs, 1);
    const repeated: Repeated = new Map();
    const labels = zeros(device, [tokens], { dtype: 'u32' });
    const weights = zeros(device, [tokens]);
    const step = capture(device, () => {
      const all = this.#logits(placed, repeated, 1);
      const each = this.stacks.map((_, stack) => reshape(slice(all, 0, stack, 1), all.shape.slice(1)));
      const rows = [...each, mean(all, 0)];
      return {
        losses: rows.map((logits) => crossEntropy(logits, labels, weights)),
        likeliest: rows.map((logits) => argmax(logits)),
      };
    });
    this.#scoring = { placed, repeated, labels, weights, step };
    return this.#scoring;
  }

  #planFor(batch: number): Plan {
    const known = this.#plans.get(batch);
    if (known) return known;
    const { device, network } = this.#base;
    const placed = placeInputs(device, network.architecture.inputs, batch);
    const repeated: Repeated = new Map();
    const step = capture(device, () => this.#logits(placed, repeated, batch));
    const plan = { placed, repeated, step };
    this.#plans.set(batch, plan);
    return plan;
  }

  /** Writes the inputs of `batch` records to where a plan reads them. */
  #write(
    host: HostInputs,
    batch: number,
    { placed, repeated }: { placed: Inputs; repeated: Repeated },
  ): void {
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
  #logits(inputs: Inputs, repeated: Repeated, batch: number): Tensor {
    const { device, network } = this.#base;
    const { inputs: fields, layers } = network.architecture;
    const carried = fields.filter((field) => field.carried);
    const carriedBy = (streams: number): Inputs => {
      if (streams === 1 || carried.length === 0) return carriedInputs(fields, inputs);
      const known =
        repeated.get(streams) ??
        device.outsideCapture(() => {
          const inputs = placeInputs(device, carried, streams * batch);
          for (const input of Object.values(inputs)) keep(input);
          return inputs;
        });
      repeated.set(streams, known);
      return known;
    };
    let bare = network.embed(inputs);
    // Side by side along the first axis, in the order in which they leave the trunk.
    const running: EnsembleStack[] = [];
    let streams: Tensor | null = null;
    for (let layer = 0; layer < layers; layer++) {
      const leaving = this.stacks.filter((stack) => lowestLayer(stack) === layer);
      running.push(...leaving);
      const parts: Tensor[] = [...(streams ? [streams] : []), ...leaving.map(() => bare)];
      if (parts.length > 0) {
        const x = parts.length === 1 ? parts[0]! : concat(parts, 0);
        const adapter = this.#adapterOf(layer, running);
        streams = network.layer(layer, x, { inputs: carriedBy(running.length), adapter });
      }
      if (running.length < this.stacks.length) bare = network.layer(layer, bare, { inputs: carriedBy(1) });
    }
    const logits = this.stacks.map((stack) => {
      const own = slice(streams!, 0, running.indexOf(stack) * batch, batch);
      return network.logits(own, stack.stages.at(-1)!.stage.head);
    });
    return concat(logits, 0);
  }

  /** The adapters that some stacks have in a layer, side by side in their order. A single one stays as it is. */
  #adapterOf(layer: number, stacks: readonly EnsembleStack[]): LayerAdapter {
    const adapters = stacks.map((stack) => adapterAt(stack, layer));
    if (adapters.length === 1) return adapters[0]!;
    const known = this.#sideBySide.get(layer);
    if (known) return known;
    const { device } = this.#base;
    const stacked = (parts: readonly Tensor[]): Tensor =>
      device.outsideCapture(() => {
        const result = scope(() =>
          concat(
            parts.map((part) => reshape(part, [1, ...part.shape])),
            0,
          ),
        );
        // It is never written again, so its texture form may be kept.
        result.storage.constant = true;
        return keep(result);
      });
    const pairs: Record<string, LoraPair> = {};
    for (const target of Object.keys(adapters[0]!.pairs)) {
      const own = adapters.map((adapter) => adapter.pairs[target]!);
      pairs[target] = { down: stacked(own.map(({ down }) => down)), up: stacked(own.map(({ up }) => up)) };
    }
    const adapter = { pairs, scale: adapters[0]!.scale };
    this.#sideBySide.set(layer, adapter);
    return adapter;
  }
}

function lowestLayer({ stages }: EnsembleStack): number {
  return Math.min(...stages.at(-1)!.layers);
}

/** Between its lowest layer and the top a stack has an adapter in every layer. */
function adapterAt({ stages }: EnsembleStack, layer: number): LayerAdapter {
  return stages.find(({ layers }) => layers.includes(layer))!.stage.adapters.get(layer)!;
}
