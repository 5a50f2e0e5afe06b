import { type BaseModel, baseActivations, type Example, type HostInputs, type NextTokens } from '@s3t/model';
import type { RunConfig } from './config.ts';
import { exampleOf } from './examples.ts';
import type { RunRecord } from './run-data.ts';

/**
 * What enters the lowest layer of each adapter group, for the records of one shard: computed once, used by all its stages.
 * An erased record's rows are zeroed.
 */
export class KeptActivations {
  readonly #rows: Map<string, number>;
  readonly #byLayer: ReadonlyMap<number, Float32Array>;
  readonly #width: number;
  /** Per row the inputs that layers read, and of a language model what is learnt. */
  readonly #inputs: readonly HostInputs[];
  readonly #nextTokens: readonly NextTokens[];

  private constructor(
    rows: Map<string, number>,
    byLayer: ReadonlyMap<number, Float32Array>,
    width: number,
    inputs: readonly HostInputs[],
    nextTokens: readonly NextTokens[],
  ) {
    this.#rows = rows;
    this.#byLayer = byLayer;
    this.#width = width;
    this.#inputs = inputs;
    this.#nextTokens = nextTokens;
  }

  static async compute(
    base: BaseModel,
    records: readonly RunRecord[],
    layers: readonly number[],
    config: RunConfig,
    signal?: AbortSignal,
  ): Promise<KeptActivations> {
    const examples: Example[] = [];
    for (const { record } of records) examples.push(await exampleOf(record, config));
    const { inputs: fields, tokens, width } = base.network.architecture;
    const carried = fields.filter((field) => field.carried);
    const kept: HostInputs[] = [];
    const byLayer = await baseActivations(
      base,
      records.length,
      (index) => {
        const inputs = base.encode(examples[index]!);
        kept[index] = Object.fromEntries(carried.map(({ name }) => [name, inputs[name]!]));
        return inputs;
      },
      layers,
      () => signal?.throwIfAborted(),
    );
    const { language } = base;
    const learnt = config.training.learn ?? 'all';
    const nextTokens = language ? examples.map((example) => language.nextTokens(example, learnt)) : [];
    const rows = new Map(records.map(({ key }, row) => [key, row]));
    return new KeptActivations(rows, byLayer, tokens * width, kept, nextTokens);
  }

  /** Copies the activation of a record, [tokens * width]. */
  read(key: string, layer: number, target: Float32Array): void {
    target.set(this.#rowOf(layer, this.#find(key)));
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
    const row = this.#rows.get(key);
    if (row === undefined) return;
    for (const layer of this.#byLayer.keys()) this.#rowOf(layer, row).fill(0);
    for (const values of Object.values(this.#inputs[row]!)) values.fill(0);
    this.#nextTokens[row]?.labels.fill(0);
    this.#rows.delete(key);
  }

  clear(): void {
    for (const key of [...this.#rows.keys()]) this.forget(key);
  }

  #find(key: string): number {
    const row = this.#rows.get(key);
    if (row === undefined) throw new Error(`no activation is kept for record ${key.slice(0, 12)}`);
    return row;
  }

  #rowOf(layer: number, row: number): Float32Array {
    return this.#byLayer.get(layer)!.subarray(row * this.#width, (row + 1) * this.#width);
  }
}
