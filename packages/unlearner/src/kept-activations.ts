import { type BaseModel, baseActivations, type Picture, preprocess, tokenCount } from '@s3t/model';
import type { RunRecord } from './run-data.ts';

/**
 * What enters the lowest layer of each adapter group, for the records of one shard: computed once, used by all its stages.
 * An erased record's rows are zeroed.
 */
export class KeptActivations {
  readonly #rows: Map<string, number>;
  readonly #byLayer: ReadonlyMap<number, Float32Array>;
  readonly #width: number;

  private constructor(rows: Map<string, number>, byLayer: ReadonlyMap<number, Float32Array>, width: number) {
    this.#rows = rows;
    this.#byLayer = byLayer;
    this.#width = width;
  }

  static async compute(
    base: BaseModel,
    records: readonly RunRecord[],
    layers: readonly number[],
    signal?: AbortSignal,
  ): Promise<KeptActivations> {
    const pictures: Picture[] = [];
    for (const { record } of records) pictures.push(await record.image!());
    const byLayer = await baseActivations(
      base,
      records.length,
      (index, target) => preprocess(pictures[index]!, base.preprocessing, target),
      layers,
      () => signal?.throwIfAborted(),
    );
    const rows = new Map(records.map(({ key }, row) => [key, row]));
    return new KeptActivations(rows, byLayer, tokenCount(base.config) * base.config.hidden_size);
  }

  /** Copies the activation of a record, [tokens * hidden]. */
  read(key: string, layer: number, target: Float32Array): void {
    const row = this.#rows.get(key);
    if (row === undefined) throw new Error(`no activation is kept for record ${key.slice(0, 12)}`);
    target.set(this.#rowOf(layer, row));
  }

  /** Zeroes and forgets a record. */
  forget(key: string): void {
    const row = this.#rows.get(key);
    if (row === undefined) return;
    for (const layer of this.#byLayer.keys()) this.#rowOf(layer, row).fill(0);
    this.#rows.delete(key);
  }

  clear(): void {
    for (const values of this.#byLayer.values()) values.fill(0);
    this.#rows.clear();
  }

  #rowOf(layer: number, row: number): Float32Array {
    return this.#byLayer.get(layer)!.subarray(row * this.#width, (row + 1) * this.#width);
  }
}
