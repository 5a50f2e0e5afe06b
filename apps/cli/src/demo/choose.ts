import { type PartitionOptions, placer } from '@s3t/algorithm';

/** One erasure to come: records of one slice of one shard. */
export interface Target {
  shard: number;
  slice: number;
  records: string[];
}

/**
 * Three groups of records, each in another slice of another shard, such that every shard goes on serving something and as little as possible
 * has to be trained again.
 *
 * @param orders the slice orders of the run's sequences
 * @param ids the records of the run
 */
export function chooseTargets(
  orders: readonly (readonly number[])[],
  ids: Iterable<string>,
  partition: PartitionOptions,
  recordsEach: number,
): Target[] {
  const slices = Array.from({ length: partition.slices }, (_, slice) => slice)
    .filter((slice) => survivingDepth(orders, slice) > 0)
    .sort((a, b) => deactivated(orders, a) - deactivated(orders, b));
  const targets = slices
    .slice(0, Math.min(3, partition.shards))
    .map((slice, shard): Target => ({ shard, slice, records: [] }));
  const placeOf = placer(partition);
  for (const id of ids) {
    const { shard, slice } = placeOf(id);
    const target = targets.find((one) => one.shard === shard && one.slice === slice);
    if (target && target.records.length < recordsEach) target.records.push(id);
  }
  if (targets.length < 3 || targets.some(({ records }) => records.length < recordsEach)) {
    throw new Error('the run is too small to erase from three different slices and serve on');
  }
  return targets;
}

/** How many slices the best sequence of a shard still serves without this one. */
function survivingDepth(orders: readonly (readonly number[])[], slice: number): number {
  return Math.max(...orders.map((order) => order.indexOf(slice)));
}

/** How many stages of a shard have learnt from this slice (shared prefixes counted once per sequence). */
function deactivated(orders: readonly (readonly number[])[], slice: number): number {
  return orders.reduce((sum, order) => sum + order.length - order.indexOf(slice), 0);
}
