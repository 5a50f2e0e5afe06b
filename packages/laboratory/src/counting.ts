/** What of a run decides how many layers its training computes. */
export interface Counted {
  /** Layers of the base. */
  layers: number;
  /** Layers of an adapter group. */
  height: number;
  sequences: readonly (readonly number[])[];
}

/** Layer passes, each over the records of one slice, of one shard and one epoch. A pass forwards and one backwards count alike. */
export interface LayerPasses {
  /** Each distinct prefix once, from the kept activations below its lowest layer. */
  s3t: number;
  /** The public code's schedule: every sequence from scratch, all layers forwards in every step. */
  published: number;
  /** How many times as many the published schedule computes. */
  ratio: number;
}

/**
 * What counting layers and shared prefixes predicts. Stage k (from 1) learns from k slices and goes backwards through k groups of g layers; the
 * published schedule goes forwards through all n layers, ours through the same k g. Backwards costs what forwards costs: only what enters
 * a frozen layer has a gradient, not its weights. Embedding, head and the first computation of kept activations are left out.
 *
 * @example
 * // RoBERTa-large, 7 slices of 2 layers, no shared prefixes: sum k (24 + 2k) / sum k (2k + 2k) = 1.7
 */
export function layerPasses({ layers, height, sequences }: Counted): LayerPasses {
  const seen = new Set<string>();
  let [s3t, published] = [0, 0];
  for (const sequence of sequences)
    for (let depth = 1; depth <= sequence.length; depth++) {
      published += depth * (layers + depth * height);
      const prefix = sequence.slice(0, depth).join();
      if (seen.has(prefix)) continue;
      seen.add(prefix);
      s3t += depth * 2 * depth * height;
    }
  return { s3t, published, ratio: published / s3t };
}
