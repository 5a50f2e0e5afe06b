import {
  type Captured,
  capture,
  concat,
  type Device,
  gatherRows,
  log,
  mean,
  reshape,
  softmax,
  type Tensor,
  zeros,
} from '@s3t/engine';
import { type LayerAdapter, sideBySide } from '../adapter.ts';
import { ModelError } from '../errors.ts';
import {
  decoderLayer,
  embedTokens,
  type LayerCache,
  type LlamaConfig,
  type LlamaWeights,
  languageModelLogits,
} from '../llama.ts';
import { type LayerRoute, routeStreams } from '../route.ts';

/** A Llama on a device. */
export interface LlamaModel {
  device: Device;
  config: LlamaConfig;
  weights: LlamaWeights;
}

export interface DecoderOptions {
  /** The adapters of each stack by layer, which answer together. Default: none, the base alone. */
  stacks?: readonly ReadonlyMap<number, LayerAdapter>[];
  /** What of the stacks is averaged. Default: logits. */
  mean?: 'logits' | 'probabilities';
  /** How many tokens fit, prompt and answer. Default: as many as the weights have positions for. */
  capacity?: number;
}

/** Prompts are read in steps of these sizes, each captured once. */
const STEP_SIZES = { software: [1, 8, 32, 128], portable: [1, 8, 32, 128], gpu: [1, 32, 256] } as const;

interface Plan {
  ids: Tensor;
  /** u32 [stacks]: the rows of what leaves the top layer that hold the last token, one for each stack. */
  last: Tensor;
  step: Captured<Tensor>;
}

/** The keys and values of a layer: of the trunk, and of the streams that have left it. */
interface Caches {
  trunk?: LayerCache;
  streams?: LayerCache;
}

/**
 * Reads one text token by token and says what may follow, for all stacks over one base together. The trunk runs once, keys and
 * values of its layers are kept once; a stack's stream leaves it at the stack's own lowest layer. The logits have the bits that the
 * whole text at once would give, however it is cut into steps.
 */
export class Decoder {
  readonly model: LlamaModel;
  readonly capacity: number;
  readonly #stacks: number;
  readonly #mean: 'logits' | 'probabilities';
  readonly #route: readonly LayerRoute[];
  /** By layer, those side by side copied. */
  readonly #adapters: readonly (LayerAdapter | undefined)[];
  readonly #caches: readonly Caches[];
  /** How many tokens came before, by how many rows ask. */
  readonly #starts: Map<number, Tensor> = new Map();
  readonly #plans: Map<number, Plan> = new Map();
  #position = 0;
  #isBusy = false;
  #disposed = false;

  /** @throws ModelError when the capacity is out of its range, or stacks do not fit together */
  constructor(model: LlamaModel, { stacks = [new Map()], mean = 'logits', capacity }: DecoderOptions = {}) {
    const { device, config, weights } = model;
    const positions = weights.layers[0]!.rotations.shape[0]!;
    this.model = model;
    this.capacity = capacity ?? positions;
    if (!Number.isInteger(this.capacity) || this.capacity < 1 || this.capacity > positions)
      throw new ModelError(`generate: option capacity must be in 1..${positions}, not ${this.capacity}`);
    this.#stacks = stacks.length;
    this.#mean = mean;
    this.#route = routeStreams(stacks, config.num_hidden_layers);
    this.#adapters = this.#route.map(({ running }, layer) => {
      const adapters = running.map((stack) => stacks[stack]!.get(layer));
      return adapters.length > 1 ? sideBySide(adapters.map((adapter) => adapter!)) : adapters[0];
    });
    const width = config.num_key_value_heads * config.head_dim;
    const cache = (rows: number): LayerCache => ({
      keys: zeros(device, [rows, this.capacity, width]),
      values: zeros(device, [rows, this.capacity, width]),
      start: this.#startOf(rows),
    });
    this.#caches = this.#route.map(({ running, trunk }) => ({
      ...(trunk && { trunk: cache(1) }),
      ...(running.length > 0 && { streams: cache(running.length) }),
    }));
  }

  /** How many tokens of the text were read. */
  get position(): number {
    return this.#position;
  }

  /** Begins another text. */
  reset(): void {
    this.#position = 0;
  }

  /**
   * Reads more tokens of the text.
   * @returns the logits [vocabulary] of the token that follows them; with a mean of probabilities, their logarithms
   * @throws ModelError when there are none, one is not in the vocabulary, they do not fit, or another call is under way
   */
  async append(ids: readonly number[]): Promise<Float32Array<ArrayBuffer>> {
    this.#check(ids);
    this.#isBusy = true;
    try {
      let logits: Tensor | undefined;
      for (let from = 0; from < ids.length; ) {
        const part = ids.slice(from, from + this.#sizeFor(ids.length - from));
        logits = this.#replay(part);
        from += part.length;
        this.#position += part.length;
      }
      return await logits!.read();
    } finally {
      this.#isBusy = false;
    }
  }

  /** Frees the captured steps, and zeroes what was learnt: keys, values and copies of adapters. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const { ids, last, step } of this.#plans.values()) {
      step.dispose();
      ids.dispose();
      last.dispose();
    }
    for (const { trunk, streams } of this.#caches)
      for (const { keys, values } of [trunk, streams].filter((cache) => cache !== undefined)) {
        keys.destroy();
        values.destroy();
      }
    for (const start of this.#starts.values()) start.dispose();
    this.#route.forEach(({ running }, layer) => {
      if (running.length > 1)
        for (const { down, up } of Object.values(this.#adapters[layer]!.pairs)) {
          down.destroy();
          up.destroy();
        }
    });
  }

  #check(ids: readonly number[]): void {
    const { vocab_size } = this.model.config;
    if (this.#disposed) throw new ModelError('generate: the decoder is disposed');
    if (this.#isBusy) throw new ModelError('generate: the decoder is reading already');
    if (ids.length === 0) throw new ModelError('generate: there is no token to read');
    const strange = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocab_size);
    if (strange !== undefined)
      throw new ModelError(`generate: token ${strange} is not one of the vocabulary of ${vocab_size}`);
    if (this.#position + ids.length > this.capacity)
      throw new ModelError(
        `generate: ${ids.length} tokens after ${this.#position} are more than the capacity of ${this.capacity}`,
      );
  }

  /** The largest step that is filled, or the smallest that takes all. */
  #sizeFor(tokens: number): number {
    const sizes = STEP_SIZES[this.model.device.adapterClass].filter((size) => size <= this.capacity);
    return sizes.find((size) => size >= tokens) ?? sizes.at(-1)!;
  }

  /** What is missing from a step of its size comes behind the tokens: they do not see it, and the next ones replace it. */
  #replay(tokens: readonly number[]): Tensor {
    const size = this.#sizeFor(tokens.length);
    const { ids, last, step } = this.#planFor(size);
    const padded = new Uint32Array(size);
    padded.set(tokens);
    ids.write(padded);
    const { running } = this.#route.at(-1)!;
    // In the order of the stacks, not of the streams: a mean's last bits depend on it.
    const first = Uint32Array.from({ length: this.#stacks }, (_, stack) =>
      Math.max(0, running.indexOf(stack)),
    );
    last.write(first.map((row) => row * size + tokens.length - 1));
    for (const [rows, start] of this.#starts) start.write(new Uint32Array(rows).fill(this.#position));
    step.replay();
    return step.outputs;
  }

  #planFor(size: number): Plan {
    const known = this.#plans.get(size);
    if (known) return known;
    const { device } = this.model;
    const ids = zeros(device, [1, size], { dtype: 'u32' });
    const last = zeros(device, [this.#stacks], { dtype: 'u32' });
    const plan = { ids, last, step: capture(device, () => this.#logits(ids, last)) };
    this.#plans.set(size, plan);
    return plan;
  }

  #startOf(rows: number): Tensor {
    const known = this.#starts.get(rows);
    if (known) return known;
    const start = zeros(this.model.device, [rows], { dtype: 'u32' });
    this.#starts.set(rows, start);
    return start;
  }

  #logits(ids: Tensor, last: Tensor): Tensor {
    const { config, weights } = this.model;
    let bare = embedTokens(weights, ids);
    // Side by side along the first axis, in the order in which they leave the trunk.
    let streams: Tensor | null = null;
    this.#route.forEach(({ leaving, running, trunk }, layer) => {
      const base = weights.layers[layer]!;
      const caches = this.#caches[layer]!;
      const parts: Tensor[] = [...(streams ? [streams] : []), ...leaving.map(() => bare)];
      if (running.length > 0) {
        const x = parts.length === 1 ? parts[0]! : concat(parts, 0);
        streams = decoderLayer(config, base, x, { adapter: this.#adapters[layer], cache: caches.streams });
      }
      if (trunk) bare = decoderLayer(config, base, bare, { cache: caches.trunk });
    });
    const top: Tensor = streams ?? bare;
    const rows = gatherRows(reshape(top, [top.size / config.hidden_size, config.hidden_size]), last);
    const logits = languageModelLogits(config, weights, rows);
    if (this.#stacks === 1) return reshape(logits, [config.vocab_size]);
    return this.#mean === 'logits' ? mean(logits, 0) : log(mean(softmax(logits), 0));
  }
}
