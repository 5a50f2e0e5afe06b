import type { PhiloxStream } from './philox.ts';

/** Makes a function that draws what one deletion hits, as the cell `shard * slices + slice`: a shard uniformly, its slice by `prior`. */
export function deletion(
  shards: number,
  slices: number,
  prior: readonly number[] | undefined,
): (random: PhiloxStream) => number {
  if (prior === undefined) {
    const cells = shards * slices;
    return (random) => random.below(cells);
  }
  // A float is below 1, so from the last slice that can be hit on, 1 is a bound that rounding cannot spoil.
  const last = prior.findLastIndex((probability) => probability > 0);
  const upTo = new Float64Array(slices).fill(1);
  let sum = 0;
  for (let slice = 0; slice < last; slice++) {
    sum += prior[slice]!;
    upTo[slice] = sum;
  }
  return (random) => {
    const shard = random.below(shards);
    const target = random.float();
    let slice = 0;
    while (upTo[slice]! <= target) slice++;
    return shard * slices + slice;
  };
}
