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
import { type ActivationType, stored } from '../half-activations.ts';
import {
  decoderLayer,
  embedTokens,
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
  /** What layers hand on, keys and values among it, is stored in. Default: f32 */
  activations?: ActivationType | undefined;
  /** The tokens that end a text. Default: those of config.json. */
  endTokens?: readonly number[] | undefined;
}

export interface DecoderOptions {
  /** The adapters of each stack by layer, which answer together. Default: none, the base alone. */
  stacks?: readonly ReadonlyMap<number, LayerAdapter>[];
  /** What of the stacks is averaged. Default: logits. */
  mean?: 'logits' | 'probabilities';
  /** How many tokens of a text fit, prompt and answer. Default: as many as the weights have positions for. */
  capacity?: number;
  /** How many texts are read side by side. Default 1. */
  slots?: number;
}

/** Prompts are read in steps of these sizes, each captured once. */
const STEP_SIZES = { software: [1, 8, 32, 128], portable: [1, 8, 32, 128], gpu: [1, 32, 256] } as const;
/** Texts that go on together do so in steps of these sizes and of all slots, each captured once: up to four cost about as much as one. */
const ROW_SIZES: readonly number[] = [1, 4, 8, 16, 32, 64, 128];

/** Some tokens of the text in a slot. */
interface Part {
  slot: number;
  ids: readonly number[];
}

interface Plan {
  /** u32 [texts, tokens] */
  ids: Tensor;
  /** u32 [stacks * texts]: the rows of what leaves the top layer that hold the last tokens, of all texts for each stack. */
  last: Tensor;
  /** By how many streams there are: where the texts of each are in the caches. */
  places: Map<number, Places>;
  step: Captured<Tensor>;
}

/** Of each row of a batch, u32 [streams * texts]: how many tokens came before, and its row of the cache. */
interface Places {
  start: Tensor;
  rows: Tensor;
}

/** Keys and values of a layer, [streams * slots, capacity, width] each. */
interface Cache {
  keys: Tensor;
  values: Tensor;
}

/** What is kept of a layer: of the trunk, and of the streams that have left it. */
interface Caches {
  trunk?: Cache;
  streams?: Cache;
}

/**
 * Reads texts token by token, each in a slot of its own, and says what may follow, for all stacks over one base together. The trunk
 * runs once, keys and values of its layers are kept once; a stack's stream leaves it at the stack's own lowest layer. The logits have
 * the bits that the whole text at once would give, however it is cut into steps and whatever the other slots hold.
 */
export class Decoder {
  readonly model: LlamaModel;
  readonly capacity: number;
  readonly slots: number;
  readonly #stacks: number;
  readonly #mean: 'logits' | 'probabilities';
  readonly #route: readonly LayerRoute[];
  /** By layer, those side by side copied. */
  readonly #adapters: readonly (LayerAdapter | undefined)[];
  readonly #caches: readonly Caches[];
  /** By texts and tokens. */
  readonly #plans: Map<string, Plan> = new Map();
  /** How many tokens were read in each slot. */
  readonly #positions: number[];
  /** How many texts were begun in all slots. */
  #begun = 0;
  /** Which of them is the text in each slot. */
  readonly #texts: number[];
  #isBusy = false;
  #disposed = false;

  /** @throws ModelError when the capacity or the slots are out of their range, or stacks do not fit together */
  constructor(
    model: LlamaModel,
    { stacks = [new Map()], mean = 'logits', capacity, slots = 1 }: DecoderOptions = {},
  ) {
    const { device, config, weights, activations: dtype = 'f32' } = model;
    const positions = weights.layers[0]!.rotations.shape[0]!;
    this.model = model;
    this.capacity = capacity ?? positions;
    if (!Number.isInteger(this.capacity) || this.capacity < 1 || this.capacity > positions)
      throw new ModelError(`generate: option capacity must be in 1..${positions}, not ${this.capacity}`);
    if (!Number.isInteger(slots) || slots < 1 || slots > ROW_SIZES.at(-1)!)
      throw new ModelError(`generate: option slots must be in 1..${ROW_SIZES.at(-1)}, not ${slots}`);
    this.slots = slots;
    this.#positions = new Array<number>(slots).fill(0);
    this.#texts = new Array<number>(slots).fill(0);
    this.#stacks = stacks.length;
    this.#mean = mean;
    this.#route = routeStreams(stacks, config.num_hidden_layers);
    this.#adapters = this.#route.map(({ running }, layer) => {
      const adapters = running.map((stack) => stacks[stack]!.get(layer));
      return adapters.length > 1 ? sideBySide(adapters.map((adapter) => adapter!)) : adapters[0];
    });
    const width = config.num_key_value_heads * config.head_dim;
    const cache = (streams: number): Cache => ({
      keys: zeros(device, [streams * slots, this.capacity, width], { dtype }),
      values: zeros(device, [streams * slots, this.capacity, width], { dtype }),
    });
    this.#caches = this.#route.map(({ running, trunk }) => ({
      ...(trunk && { trunk: cache(1) }),
      ...(running.length > 0 && { streams: cache(running.length) }),
    }));
  }

  /** How many tokens of the text in a slot were read. */
  position(slot: number = 0): number {
    return this.#positions[slot]!;
  }

  /** The most tokens of a text that are read in one step. */
  get longestStep(): number {
    return this.#stepSizes.at(-1)!;
  }

  /** Begins another text in a slot. @returns what `text` says until the next one is begun there, and never again */
  reset(slot: number = 0): number {
    this.#positions[slot] = 0;
    this.#texts[slot] = ++this.#begun;
    return this.#begun;
  }

  /** Which text a slot has. */
  text(slot: number = 0): number {
    return this.#texts[slot]!;
  }

  /**
   * Reads more tokens of a text.
   * @returns the logits [vocabulary] of the token that follows them; with a mean of probabilities, their logarithms
   * @throws ModelError when there are none, one is not in the vocabulary, they do not fit, or another call is under way
   */
  async append(ids: readonly number[], slot: number = 0): Promise<Float32Array<ArrayBuffer>> {
    return this.#alone([{ slot, ids }], async () => {
      let logits: Tensor | undefined;
      for (let from = 0; from < ids.length; ) {
        const part = ids.slice(from, from + this.#sizeFor(ids.length - from));
        logits = this.#replay([{ slot, ids: part }]);
        from += part.length;
      }
      return logits!.read();
    });
  }

  /**
   * Reads the next token of several texts together.
   * @param texts no two of one slot
   * @returns for each text in their order, what `append` of its token alone would, to the bit
   * @throws ModelError as `append`
   */
  async step(texts: readonly { slot: number; token: number }[]): Promise<Float32Array<ArrayBuffer>[]> {
    const parts = texts.map(({ slot, token }) => ({ slot, ids: [token] }));
    return this.#alone(parts, async () => {
      const { vocab_size } = this.model.config;
      const logits = await this.#replay(parts).read();
      return texts.map((_, i) => logits.slice(i * vocab_size, (i + 1) * vocab_size));
    });
  }

  /** Frees the captured steps, and zeroes what was learnt: keys, values and copies of adapters. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const { ids, last, places, step } of this.#plans.values()) {
      step.dispose();
      for (const { start, rows } of places.values()) for (const each of [start, rows]) each.dispose();
      for (const each of [ids, last]) each.dispose();
    }
    for (const { trunk, streams } of this.#caches)
      for (const { keys, values } of [trunk, streams].filter((cache) => cache !== undefined)) {
        keys.destroy();
        values.destroy();
      }
    this.#route.forEach(({ running }, layer) => {
      if (running.length > 1)
        for (const { down, up } of Object.values(this.#adapters[layer]!.pairs)) {
          down.destroy();
          up.destroy();
        }
    });
  }

  /** Checks what is to be read, and lets nothing else be read meanwhile. */
  async #alone<T>(parts: readonly Part[], body: () => Promise<T>): Promise<T> {
    if (this.#disposed) throw new ModelError('generate: the decoder is disposed');
    if (this.#isBusy) throw new ModelError('generate: the decoder is reading already');
    if (parts.length === 0) throw new ModelError('generate: there is no text to read');
    for (const { slot, ids } of parts) {
      if (parts.filter((part) => part.slot === slot).length > 1 || this.#positions[slot] === undefined)
        throw new ModelError(`generate: slot ${slot} is not one of ${this.slots}, or there twice`);
      checkTokens(ids, this.model.config.vocab_size, this.#positions[slot], this.capacity);
    }
    this.#isBusy = true;
    try {
      return await body();
    } finally {
      this.#isBusy = false;
    }
  }

  get #stepSizes(): readonly number[] {
    return STEP_SIZES[this.model.device.adapterClass].filter((size) => size <= this.capacity);
  }

  /** The largest step that is filled, or the smallest that takes all. */
  #sizeFor(tokens: number): number {
    const sizes = this.#stepSizes;
    return sizes.find((size) => size >= tokens) ?? sizes.at(-1)!;
  }

  /**
   * Reads the next tokens of some texts: of one any number, of several one each. What fills a step up to its size comes behind
   * the tokens of a text, or goes where another text will go on or begin: nothing sees it, and what is read next replaces it.
   */
  #replay(parts: readonly Part[]): Tensor {
    const texts = Math.min(this.slots, ROW_SIZES.find((size) => size >= parts.length)!);
    const tokens = parts.length > 1 ? 1 : this.#sizeFor(parts[0]!.ids.length);
    const { ids, last, places, step } = this.#planFor(texts, tokens);
    const taken = new Set(parts.map(({ slot }) => slot));
    const others = [...this.#positions.keys()].filter((slot) => !taken.has(slot));
    const slots = [...taken, ...others].slice(0, texts);
    const padded = new Uint32Array(texts * tokens);
    parts.forEach((part, row) => {
      padded.set(part.ids, row * tokens);
    });
    ids.write(padded);
    const { running } = this.#route.at(-1)!;
    const rows = new Uint32Array(this.#stacks * texts);
    for (let stack = 0; stack < this.#stacks; stack++) {
      // In the order of the stacks, not of the streams: a mean's last bits depend on it.
      const stream = Math.max(0, running.indexOf(stack));
      for (let row = 0; row < texts; row++)
        rows[stack * texts + row] = (stream * texts + row) * tokens + (parts[row]?.ids.length ?? 1) - 1;
    }
    last.write(rows);
    for (const [streams, place] of places) {
      const each = Array.from({ length: streams }, (_, stream) =>
        slots.map((slot) => stream * this.slots + slot),
      );
      place.rows.write(Uint32Array.from(each.flat()));
      place.start.write(Uint32Array.from(each.flatMap(() => slots.map((slot) => this.#positions[slot]!))));
    }
    step.replay();
    for (const { slot, ids } of parts) this.#positions[slot]! += ids.length;
    return step.outputs;
  }

  #planFor(texts: number, tokens: number): Plan {
    const key = `${texts}/${tokens}`;
    const known = this.#plans.get(key);
    if (known) return known;
    const { device } = this.model;
    const words = (shape: number[]) => zeros(device, shape, { dtype: 'u32' });
    const ids = words([texts, tokens]);
    const last = words([this.#stacks * texts]);
    const streams = this.#route.flatMap(({ running, trunk }) => [running.length, ...(trunk ? [1] : [])]);
    const places = new Map(
      [...new Set(streams)]
        .filter((count) => count > 0)
        .map((count) => [count, { start: words([count * texts]), rows: words([count * texts]) }]),
    );
    const plan = { ids, last, places, step: capture(device, () => this.#logits(ids, last, places)) };
    this.#plans.set(key, plan);
    return plan;
  }

  /** @returns [texts, vocabulary] */
  #logits(ids: Tensor, last: Tensor, places: ReadonlyMap<number, Places>): Tensor {
    const { config, weights, activations = 'f32' } = this.model;
    let bare = stored(embedTokens(weights, ids), activations);
    // Side by side along the first axis, in the order in which they leave the trunk.
    let streams: Tensor | null = null;
    this.#route.forEach(({ leaving, running, trunk }, layer) => {
      const base = weights.layers[layer]!;
      const caches = this.#caches[layer]!;
      const parts: Tensor[] = [...(streams ? [streams] : []), ...leaving.map(() => bare)];
      if (running.length > 0) {
        const x = parts.length === 1 ? parts[0]! : concat(parts, 0);
        const cache = { ...caches.streams!, ...places.get(running.length)! };
        streams = decoderLayer(config, base, x, { adapter: this.#adapters[layer], cache });
      }
      if (trunk) bare = decoderLayer(config, base, bare, { cache: { ...caches.trunk!, ...places.get(1)! } });
    });
    const top: Tensor = streams ?? bare;
    const rows = gatherRows(reshape(top, [top.size / config.hidden_size, config.hidden_size]), last);
    const all = languageModelLogits(config, weights, stored(rows, 'f32'));
    const logits = reshape(all, [this.#stacks, ids.shape[0]!, config.vocab_size]);
    if (this.#stacks === 1) return reshape(logits, logits.shape.slice(1));
    return this.#mean === 'logits' ? mean(logits, 0) : log(mean(softmax(logits), 0));
  }
}

/** @throws ModelError unless `ids` are tokens that fit behind `position` others */
export function checkTokens(
  ids: readonly number[],
  vocabulary: number,
  position: number,
  capacity: number,
): void {
  if (ids.length === 0) throw new ModelError('generate: there is no token to read');
  const strange = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabulary);
  if (strange !== undefined)
    throw new ModelError(`generate: token ${strange} is not one of the vocabulary of ${vocabulary}`);
  if (position + ids.length > capacity)
    throw new ModelError(
      `generate: ${ids.length} tokens after ${position} are more than the capacity of ${capacity}`,
    );
}
