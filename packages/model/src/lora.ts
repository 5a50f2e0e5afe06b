import { OptionError } from './errors.ts';

/** What an adapter is made of; names as in PEFT's LoraConfig. */
export interface LoraConfig {
  rank: number;
  alpha: number;
  /** Scale by alpha / sqrt(rank) (Kalajdzievski 2023) instead of alpha / rank. */
  rslora: boolean;
  dropout: number;
  targets: readonly string[];
}

/** The factor on the low-rank change. */
export function loraScale({ rank, alpha, rslora }: LoraConfig): number {
  return rslora ? alpha / Math.sqrt(rank) : alpha / rank;
}

/**
 * The layers of each adapter group, top-down: group 0 holds the top floor(layers / groups) layers, highest first, group 1
 * the next ones below. Layers that are left over at the bottom belong to no group.
 * @param height layers of a group, where that is not floor(layers / groups)
 * @throws OptionError when there are more groups than layers, or not a positive whole number of them; when they are too high
 */
export function adapterGroups(layers: number, groups: number, height?: number): number[][] {
  if (!Number.isInteger(groups) || groups < 1)
    throw new OptionError(`slices: ${groups} is not a positive whole number`);
  const most = Math.floor(layers / groups);
  if (most < 1)
    throw new OptionError(
      `slices: ${groups} is more than the ${layers} layers of the base; use at most ${layers}`,
    );
  const each = height ?? most;
  if (!Number.isInteger(each) || each < 1 || each > most)
    throw new OptionError(
      `layersPerSlice: ${groups} slices of ${each} layers do not fit into the ${layers} layers of the base; use ${Math.min(Math.max(Math.round(each) || 1, 1), most)}`,
    );
  return Array.from({ length: groups }, (_, group) =>
    Array.from({ length: each }, (_, i) => layers - 1 - group * each - i),
  );
}
