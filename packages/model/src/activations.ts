import { type Captured, capture, type Tensor } from '@s3t/engine';
import type { HostInputs, Inputs } from './architecture.ts';
import { carriedInputs, copyInputs, hostInputs, placeInputs, writeInputs } from './inputs.ts';
import type { BaseModel } from './model.ts';

/** Rows of one forward pass. Fixed: rows do not influence one another, and a fixed shape means one compiled step. */
const BATCH = 64;

/** The bare base up to some layers, captured once: what enters them, for a batch of records at a time. */
export class BasePass {
  /** Records of a batch at most. A record's values have the same bits in every batch, of whatever size. */
  readonly batch: number;
  /** Whose inputs it computes. */
  readonly layers: readonly number[];
  readonly #base: BaseModel;
  readonly #placed: Inputs;
  readonly #step: Captured<Tensor[]>;

  /** @param layers whose input is wanted */
  constructor(base: BaseModel, layers: readonly number[], batch: number = BATCH) {
    const { device, network } = base;
    const { inputs: fields } = network.architecture;
    const top = Math.max(...layers);
    this.batch = batch;
    this.layers = layers;
    this.#base = base;
    this.#placed = placeInputs(device, fields, batch);
    const carried = carriedInputs(fields, this.#placed);
    this.#step = capture(device, () => {
      const found = new Map<number, Tensor>();
      let x = network.embed(this.#placed);
      for (let layer = 0; layer <= top; layer++) {
        if (layers.includes(layer)) found.set(layer, x);
        if (layer < top) x = network.layer(layer, x, { inputs: carried });
      }
      return layers.map((layer) => found.get(layer)!);
    });
  }

  /**
   * @param inputs those of up to `batch` records
   * @returns for each layer, in their order, the records' rows [records, tokens * width]
   */
  async run(inputs: readonly HostInputs[]): Promise<Float32Array[]> {
    const { inputs: fields, tokens, width } = this.#base.network.architecture;
    const host = hostInputs(fields, this.batch);
    for (const [i, one] of inputs.entries()) copyInputs(fields, one, 0, 1, host, i);
    writeInputs(fields, host, this.#placed);
    this.#step.replay();
    const read = await Promise.all(this.#step.outputs.map((output) => output.read()));
    return read.map((values) => values.subarray(0, inputs.length * tokens * width));
  }

  dispose(): void {
    this.#step.dispose();
    for (const input of Object.values(this.#placed)) input.dispose();
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
