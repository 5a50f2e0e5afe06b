import {
  augment,
  type BaseModel,
  BasePass,
  bucketFor,
  type Draw,
  type Example,
  type HostInputs,
  type NextTokens,
} from '@s3t/model';
import type { KeepConfig, RunConfig } from './config.ts';
import { UnlearnerError } from './errors.ts';
import { exampleOf } from './examples.ts';
import { DiskRows, MemoryRows, type Row, type RowStore } from './row-store.ts';
import type { RunRecord } from './run-data.ts';

export interface KeptOptions {
  base: BaseModel;
  /** Those of one shard. */
  records: readonly RunRecord[];
  /** The lowest of each adapter group. */
  layers: readonly number[];
  config: RunConfig;
  /** The run's: where rows lie that are kept on disk. */
  folder: string;
  signal?: AbortSignal | undefined;
}

/**
 * What enters the lowest layer of each adapter group, for the records of one shard: computed once, used by all its stages. What
 * exceeds the budget is computed again for each batch; a stage's bytes do not depend on which. Rounded to f16, where the setting
 * says so, is what is kept and what is computed again. An erased record's rows are zeroed.
 */
export class KeptActivations {
  readonly #options: KeptOptions;
  readonly #keep: Required<KeepConfig>;
  readonly #numbers: Map<string, number>;
  readonly #store: RowStore;
  /** Per layer how many records' rows are kept, the first ones, and the number of the first's row. */
  readonly #kept: ReadonlyMap<number, { count: number; first: number }>;
  /** The records before this one have their rows. */
  #filled = 0;
  /** Per record the inputs that layers read, and of a language model what is learnt. */
  readonly #inputs: HostInputs[] = [];
  readonly #nextTokens: NextTokens[] = [];
  /** Tokens of each record that do not only fill up. */
  readonly #lengths: number[] = [];
  /** What computes rows again, and those of the batch that is next, by key. */
  #pass: BasePass | null = null;
  readonly #ready: Map<string, Row> = new Map();

  /** Nothing is kept before `fill`. @throws UnlearnerError `store` when the disk cannot take a file */
  constructor(options: KeptOptions) {
    const { base, records, layers, config, folder } = options;
    this.#options = options;
    const { keep, augmentation, activations: dtype = 'f32' } = config.training;
    this.#keep = { where: 'memory', dtype, bytes: Number.POSITIVE_INFINITY, ...keep };
    // A picture is another one in every epoch.
    if (augmentation) this.#keep.bytes = 0;
    this.#numbers = new Map(records.map(({ key }, number) => [key, number]));
    const { tokens, width } = base.network.architecture;
    const rowBytes = tokens * width * (this.#keep.dtype === 'f16' ? 2 : 4);
    this.#kept = withinBudget(layers, records.length, Math.floor(this.#keep.bytes / rowBytes));
    const isNothing = [...this.#kept.values()].every(({ count }) => count === 0);
    this.#store =
      this.#keep.where === 'disk' && !isNothing ? new DiskRows(folder, rowBytes) : new MemoryRows();
  }

  /** @throws UnlearnerError `store` when a disk cannot take them; `config` when f16 cannot hold them */
  static async compute(options: KeptOptions): Promise<KeptActivations> {
    const kept = new KeptActivations(options);
    await kept.fill();
    return kept;
  }

  /** Computes it; what fails is cleared. A record that is forgotten meanwhile is read no more, and no row of it is written. */
  async fill(): Promise<void> {
    try {
      await this.#fill();
    } catch (error) {
      this.clear();
      // Whatever failed once it was stopped may have failed for want of what an erasure took.
      this.#options.signal?.throwIfAborted();
      throw error;
    }
  }

  async #fill(): Promise<void> {
    const { base, records, config, signal } = this.#options;
    const { language } = base;
    const carried = base.network.architecture.inputs.filter((field) => field.carried);
    const layers = [...this.#kept].filter(([, { count }]) => count > 0).map(([layer]) => layer);
    const rows = Math.max(...[...this.#kept.values()].map(({ count }) => count));
    const pass = layers.length > 0 ? new BasePass(base, layers) : null;
    const size = pass?.batch ?? records.length;
    try {
      for (let start = 0; start < records.length; start += size) {
        signal?.throwIfAborted();
        const batch: { key: string; number: number; encoded: HostInputs }[] = [];
        for (const { key, record } of records.slice(start, start + size)) {
          const number = this.#numbers.get(key);
          if (number === undefined) continue;
          const example = await exampleOf(record, config).catch((error) => {
            // What it names may be gone with it.
            if (this.#numbers.has(key)) throw error;
            return null;
          });
          if (!example || !this.#numbers.has(key)) continue;
          const encoded = base.encode(example);
          batch.push({ key, number, encoded });
          this.#lengths[number] = base.lengthOf(encoded);
          // Copies: what is encoded may share its memory with what layers do not read.
          this.#inputs[number] = Object.fromEntries(
            carried.map(({ name }) => [name, encoded[name]!.slice()]),
          );
          if (language)
            this.#nextTokens[number] = language.nextTokens(example, config.training.learn ?? 'all');
        }
        if (!pass || start >= rows) continue;
        const left = batch.filter(({ key }) => this.#numbers.has(key));
        if (left.length > 0) {
          const found = await pass.run(left.map(({ encoded }) => encoded));
          for (const [index, layer] of layers.entries()) {
            const { count, first } = this.#kept.get(layer)!;
            for (const [i, { key, number }] of left.entries())
              if (number < count && this.#numbers.has(key))
                this.#store.write(first + number, this.#rounded(found[index]!, i, layer));
          }
        }
        this.#filled = start + size;
      }
    } finally {
      pass?.dispose();
    }
  }

  /**
   * Makes what enters a layer ready to be read, for the records of a batch; others are no longer. One that is erased meanwhile is
   * left out: whoever asked learns it from their signal.
   * @param draw which stage and epoch learns from them: pictures are varied by it, where the configuration says so
   */
  async prepare(keys: readonly string[], layer: number, draw: Omit<Draw, 'record'>): Promise<void> {
    this.#forgetReady();
    const missing: string[] = [];
    const { count, first } = this.#kept.get(layer)!;
    for (const key of keys) {
      const number = this.#numbers.get(key);
      if (number === undefined) continue;
      if (number >= count) missing.push(key);
      else if (!this.#store.view(first + number)) {
        const row = this.#empty();
        await this.#store.read(first + number, row);
        this.#offer(key, row);
      }
    }
    const { base, config, records } = this.#options;
    const pass = missing.length > 0 ? this.#passTo(layer) : null;
    for (let start = 0; pass && start < missing.length; start += pass.batch) {
      const some = missing.slice(start, start + pass.batch).filter((key) => this.#numbers.has(key));
      const examples = some.map(async (key) =>
        varied(await exampleOf(records[this.#numbers.get(key)!]!.record, config), config, {
          ...draw,
          record: Number.parseInt(key.slice(0, 8), 16),
        }),
      );
      const inputs = (await Promise.all(examples)).map((example) => base.encode(example));
      const [values] = await pass.run(inputs);
      for (const [i, key] of some.entries()) this.#offer(key, this.#rounded(values!, i, layer));
    }
  }

  /** Copies the activation of a record of the batch that was prepared: the first tokens of it that fit into `target`. */
  read(key: string, layer: number, target: Float32Array): void {
    const number = this.#find(key);
    const { count, first } = this.#kept.get(layer)!;
    const row = (number < count ? this.#store.view(first + number) : null) ?? this.#ready.get(key);
    if (!row) throw new Error(`the activation of record ${key.slice(0, 12)} was not prepared`);
    target.set(row.subarray(0, target.length));
  }

  /** To how many tokens the text of a record is padded. */
  tokens(key: string): number {
    return bucketFor(this.#options.base.buckets, this.#lengths[this.#find(key)]!);
  }

  /** The inputs of a record that layers read. */
  inputs(key: string): HostInputs {
    return this.#inputs[this.#find(key)]!;
  }

  /** Of a language model: what is learnt of a record. */
  nextTokens(key: string): NextTokens {
    return this.#nextTokens[this.#find(key)]!;
  }

  /** Zeroes and forgets a record. */
  forget(key: string): void {
    const number = this.#numbers.get(key);
    if (number === undefined) return;
    if (number < this.#filled)
      for (const { count, first } of this.#kept.values())
        if (number < count) this.#store.zero(first + number);
    this.#ready.get(key)?.fill(0);
    this.#ready.delete(key);
    this.#zeroInputs(number);
    this.#numbers.delete(key);
  }

  /** Forgets all records. */
  clear(): void {
    for (const number of this.#numbers.values()) this.#zeroInputs(number);
    this.#numbers.clear();
    this.#forgetReady();
    this.#pass?.dispose();
    this.#pass = null;
    this.#store.close();
  }

  #zeroInputs(number: number): void {
    for (const values of Object.values(this.#inputs[number] ?? {})) values.fill(0);
    this.#nextTokens[number]?.labels.fill(0);
  }

  #forgetReady(): void {
    for (const row of this.#ready.values()) row.fill(0);
    this.#ready.clear();
  }

  /** Keeps a row for the batch that is next, unless its record was erased while it was fetched. */
  #offer(key: string, row: Row): void {
    if (this.#numbers.has(key)) this.#ready.set(key, row);
    else row.fill(0);
  }

  #passTo(layer: number): BasePass {
    if (this.#pass?.layers[0] === layer) return this.#pass;
    this.#pass?.dispose();
    const { base, config } = this.#options;
    this.#pass = new BasePass(base, [layer], Math.min(64, config.training.batchSize));
    return this.#pass;
  }

  #empty(): Row {
    const { tokens, width } = this.#options.base.network.architecture;
    return this.#keep.dtype === 'f16' ? new Float16Array(tokens * width) : new Float32Array(tokens * width);
  }

  /** Row `i` of what a pass computed, in the numbers that stages learn from. */
  #rounded(values: Float32Array, i: number, layer: number): Row {
    const row = this.#empty();
    row.set(values.subarray(i * row.length, (i + 1) * row.length));
    const { activations } = this.#options.config.training;
    if (this.#keep.dtype === 'f16' && !row.every(Number.isFinite))
      throw new UnlearnerError(
        'config',
        `training.${activations === 'f16' ? 'activations' : 'keep.dtype'}: what enters layer ${layer} is more than f16 holds; use f32`,
      );
    return row;
  }

  #find(key: string): number {
    const number = this.#numbers.get(key);
    if (number === undefined) throw new Error(`no activation is kept for record ${key.slice(0, 12)}`);
    return number;
  }
}

/** What an example shows in an epoch. */
function varied(example: Example, { training }: RunConfig, draw: Draw): Example {
  if (!training.augmentation || !('image' in example)) return example;
  const { flip, randomResizedCrop: crop } = training.augmentation;
  return {
    image: augment(example.image, { flip, area: crop?.area ?? null, ratio: crop?.ratio ?? 1 }, draw),
  };
}

/** How many of the rows of each layer are kept: those of the upper layers first, which take longest to compute again. */
function withinBudget(
  layers: readonly number[],
  records: number,
  budget: number,
): ReadonlyMap<number, { count: number; first: number }> {
  const kept = new Map<number, { count: number; first: number }>();
  let first = 0;
  for (const layer of [...layers].sort((a, b) => b - a)) {
    const count = Math.min(records, budget - first);
    kept.set(layer, { count, first });
    first += count;
  }
  return kept;
}
