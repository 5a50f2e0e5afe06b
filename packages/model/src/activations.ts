import { capture, type Tensor, zeros } from '@s3t/engine';
import type { BaseModel } from './model.ts';
import { embed, encoderLayer, tokenCount } from './vit.ts';

/** Rows of one forward pass. Fixed: rows do not influence one another, and a fixed shape means one compiled step. */
const BATCH = 64;

/**
 * What enters given layers of the bare base, for many pictures. A stage trains on what enters its lowest layer; the base
 * below never changes, so this is computed once for each record and kept.
 * @param pictures writes picture `index` as [channels, height, width] into its target
 * @param layers whose input is wanted
 * @returns for each layer the rows [count, tokens * hidden], in the order of the pictures
 */
export async function baseActivations(
  base: BaseModel,
  count: number,
  pictures: (index: number, target: Float32Array) => void,
  layers: readonly number[],
  onProgress: (done: number) => void = () => {},
): Promise<Map<number, Float32Array<ArrayBuffer>>> {
  const { device, config, weights } = base;
  const { num_channels: channels, image_size: side } = config;
  const pictureSize = channels * side * side;
  const rowSize = tokenCount(config) * config.hidden_size;
  const kept = new Map(layers.map((layer) => [layer, new Float32Array(count * rowSize)]));
  const input = zeros(device, [BATCH, channels, side, side]);
  const step = capture(device, () => {
    const found = new Map<number, Tensor>();
    let x = embed(config, weights, input);
    for (let layer = 0; layer <= Math.max(...layers); layer++) {
      if (kept.has(layer)) found.set(layer, x);
      if (layer < Math.max(...layers)) x = encoderLayer(config, weights.layers[layer]!, x);
    }
    return layers.map((layer) => found.get(layer)!);
  });
  try {
    const pixels = new Float32Array(BATCH * pictureSize);
    for (let start = 0; start < count; start += BATCH) {
      const rows = Math.min(BATCH, count - start);
      for (let i = 0; i < rows; i++)
        pictures(start + i, pixels.subarray(i * pictureSize, (i + 1) * pictureSize));
      input.write(pixels);
      step.replay();
      const read = await Promise.all(step.outputs.map((output) => output.read()));
      layers.forEach((layer, index) => {
        kept.get(layer)!.set(read[index]!.subarray(0, rows * rowSize), start * rowSize);
      });
      onProgress(start + rows);
    }
  } finally {
    step.dispose();
    input.dispose();
  }
  return kept;
}
