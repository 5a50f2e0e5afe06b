import { type Captured, capture, type Tensor } from '@s3t/engine';
import type { HostInputs, Inputs } from './architecture.ts';
import { bucketFor } from './batches.ts';
import { carriedInputs, copyInputs, fieldsAt, hostInputs, placeInputs, writeInputs } from './inputs.ts';
import type { BaseModel } from './model.ts';
import { destroyAll, ownedUnless } from './owned.ts';

/** Rows of one forward pass. Fixed: rows do not influence one another, and a fixed shape means one compiled step. */
const BATCH = 64;

/** The pass for rows of one length. */
interface Captures {
  placed: Inputs;
  step: Captured<Tensor[]>;
}

/** The bare base up to some layers, captured once for each length: what enters them, for a batch of records at a time. */
export class BasePass {
  /** Records of a batch at most. A record's values have the same bits in every batch, of whatever size. */
  readonly batch: number;
  /** Whose inputs it computes. */
  readonly layers: readonly number[];
  readonly #base: BaseModel;
  readonly #captures: Map<number, Captures> = new Map();

  /** @param layers whose input is wanted */
  constructor(base: BaseModel, layers: readonly number[], batch: number = BATCH) {
    this.batch = batch;
    this.layers = layers;
    this.#base = base;
  }

  #captureAt(tokens: number): Captures {
    const known = this.#captures.get(tokens);
    if (known) return known;
    const { device, network } = this.#base;
    const fields = fieldsAt(network.architecture.inputs, tokens);
    const top = Math.max(...this.layers);
    const made = ownedUnless((owned) => {
      const placed = owned.add(placeInputs(device, fields, this.batch), (inputs) =>
        destroyAll(Object.values(inputs)),
      );
      const carried = carriedInputs(fields, placed);
      const step = capture(device, () => {
        const found = new Map<number, Tensor>();
        let x = network.embed(placed);
        for (let layer = 0; layer <= top; layer++) {
          if (this.layers.includes(layer)) found.set(layer, x);
          if (layer < top) x = network.layer(layer, x, { inputs: carried });
        }
        return this.layers.map((layer) => found.get(layer)!);
      });
      return { placed, step };
    });
    this.#captures.set(tokens, made);
    return made;
  }

  /**
   * @param inputs those of up to `batch` records
   * @returns for each layer, in their order, the records' rows [records, tokens * width]; zero where a row is only filled up, so that
   * it does not depend on what else is in the batch
   */
  async run(inputs: readonly HostInputs[]): Promise<Float32Array[]> {
    const { inputs: fields, tokens, width } = this.#base.network.architecture;
    const lengths = inputs.map((one) => this.#base.lengthOf(one));
    const padded = bucketFor(this.#base.buckets, Math.max(0, ...lengths));
    const { placed, step } = this.#captureAt(padded);
    const cut = fieldsAt(fields, padded);
    const host = hostInputs(cut, this.batch);
    for (const [i, one] of inputs.entries()) copyInputs(fields, one, 0, 1, host, i, cut);
    writeInputs(cut, host, placed);
    step.replay();
    const read = await Promise.all(step.outputs.map((output) => output.read()));
    return read.map((values) => {
      const rows = new Float32Array(inputs.length * tokens * width);
      for (const [i, length] of lengths.entries()) {
        const from = i * padded * width;
        rows.set(values.subarray(from, from + length * width), i * tokens * width);
      }
      return rows;
    });
  }

  dispose(): void {
    for (const { placed, step } of this.#captures.values()) {
      step.dispose();
      // They hold records, which may be erased.
      destroyAll(Object.values(placed));
    }
    this.#captures.clear();
  }
}

/**
 * What enters given layers of the bare base, for many records. A stage trains on what enters its lowest layer; the base
 * below never changes, so this is computed once for each record and kept.
 * @param inputs those of record `index`
 * @param layers whose input is wanted
 * @returns for each layer the rows [count, tokens * width], in the order of the records
 */
export async function baseActivations(
  base: BaseModel,
  count: number,
  inputs: (index: number) => HostInputs,
  layers: readonly number[],
  onProgress: (done: number) => void = () => {},
): Promise<Map<number, Float32Array<ArrayBuffer>>> {
  const { tokens, width } = base.network.architecture;
  const rowSize = tokens * width;
  const kept = layers.map((): Float32Array<ArrayBuffer> => new Float32Array(count * rowSize));
  const pass = new BasePass(base, layers);
  try {
    for (let start = 0; start < count; start += pass.batch) {
      const rows = Math.min(pass.batch, count - start);
      const found = await pass.run(Array.from({ length: rows }, (_, i) => inputs(start + i)));
      for (const [index, values] of found.entries()) kept[index]!.set(values, start * rowSize);
      onProgress(start + rows);
    }
  } finally {
    pass.dispose();
  }
  return new Map(layers.map((layer, index) => [layer, kept[index]!]));
}
