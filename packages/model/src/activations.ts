import { capture, type Tensor } from '@s3t/engine';
import type { HostInputs } from './architecture.ts';
import { carriedInputs, copyInputs, hostInputs, placeInputs, writeInputs } from './inputs.ts';
import type { BaseModel } from './model.ts';

/** Rows of one forward pass. Fixed: rows do not influence one another, and a fixed shape means one compiled step. */
const BATCH = 64;

/**
 * What enters given layers of the bare base, for many records. A stage trains on what enters its lowest layer; the base
 * below never changes, so this is computed once for each record and kept.
 * @param inputs those of record `index`
 * @param layers whose input is wanted
 * @returns for each layer the rows [count, tokens * width], in the order of the records
 */
export async function baseActivations(
  { device, network }: BaseModel,
  count: number,
  inputs: (index: number) => HostInputs,
  layers: readonly number[],
  onProgress: (done: number) => void = () => {},
): Promise<Map<number, Float32Array<ArrayBuffer>>> {
  const { inputs: fields, tokens, width } = network.architecture;
  const rowSize = tokens * width;
  const top = Math.max(...layers);
  const kept = new Map(layers.map((layer) => [layer, new Float32Array(count * rowSize)]));
  const placed = placeInputs(device, fields, BATCH);
  const carried = carriedInputs(fields, placed);
  const step = capture(device, () => {
    const found = new Map<number, Tensor>();
    let x = network.embed(placed);
    for (let layer = 0; layer <= top; layer++) {
      if (kept.has(layer)) found.set(layer, x);
      if (layer < top) x = network.layer(layer, x, { inputs: carried });
    }
    return layers.map((layer) => found.get(layer)!);
  });
  try {
    const host = hostInputs(fields, BATCH);
    for (let start = 0; start < count; start += BATCH) {
      const rows = Math.min(BATCH, count - start);
      for (let i = 0; i < rows; i++) copyInputs(fields, inputs(start + i), 0, 1, host, i);
      writeInputs(fields, host, placed);
      step.replay();
      const read = await Promise.all(step.outputs.map((output) => output.read()));
      layers.forEach((layer, index) => {
        kept.get(layer)!.set(read[index]!.subarray(0, rows * rowSize), start * rowSize);
      });
      onProgress(start + rows);
    }
  } finally {
    step.dispose();
    for (const input of Object.values(placed)) input.dispose();
  }
  return kept;
}
