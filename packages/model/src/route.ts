import type { LayerAdapter } from './adapter.ts';
import { ModelError } from './errors.ts';

/** What runs in one layer. Stacks are named by where they stand in the list. */
export interface LayerRoute {
  /** Those whose streams leave the trunk here: it is their lowest layer with an adapter. */
  leaving: readonly number[];
  /** Those whose streams run here, in the order in which they left. */
  running: readonly number[];
  /** Whether the trunk runs here too: a stack is still bare. */
  trunk: boolean;
}

/**
 * The way of every stack's stream through the layers: in the trunk up to its lowest layer with an adapter, then beside the others.
 * A single stack may lack adapters, several may not.
 * @throws ModelError when there is no stack, or one of several lacks an adapter
 */
export function routeStreams(
  stacks: readonly ReadonlyMap<number, LayerAdapter>[],
  layers: number,
): LayerRoute[] {
  if (stacks.length === 0) throw new ModelError('stacks: there is none');
  const lowest = stacks.map((adapters) => Math.min(...adapters.keys()));
  if (stacks.length > 1 && lowest.includes(Number.POSITIVE_INFINITY))
    throw new ModelError(`stacks: stack ${lowest.indexOf(Number.POSITIVE_INFINITY)} has no adapter`);
  const running: number[] = [];
  return Array.from({ length: layers }, (_, layer) => {
    const leaving = [...stacks.keys()].filter((stack) => lowest[stack] === layer);
    running.push(...leaving);
    const bare = running.find((stack) => !stacks[stack]!.has(layer));
    if (stacks.length > 1 && bare !== undefined)
      throw new ModelError(`stacks: stack ${bare} has no adapter in layer ${layer}, but in one below it`);
    return { leaving, running: [...running], trunk: running.length < stacks.length };
  });
}
