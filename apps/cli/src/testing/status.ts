import type { Status } from '@s3t/unlearner';

/** A status as a run with these slice orders gives it: stages are named by what they learnt from, `gone` are not trained. */
export function statusLike(
  shards: number,
  orders: readonly (readonly number[])[],
  gone: (shard: number, slices: readonly number[]) => boolean,
  name = 'stage',
): Status {
  const rows = Array.from({ length: shards }, (_, shard) => {
    const sequences = orders.map((order) => ({
      order,
      stages: order.map((slice, position) => {
        const slices = order.slice(0, position + 1);
        const active = !gone(shard, slices);
        const stage = `${active ? '' : 'new '}${name} ${shard}/${slices.join('')}`;
        return {
          position,
          slice,
          stage,
          weights: active ? `weights of ${stage}` : null,
          active,
          records: 10,
        };
      }),
    }));
    const depths = sequences.map(({ stages }) => {
      const first = stages.findIndex(({ active }) => !active);
      return first < 0 ? stages.length : first;
    });
    const servedDepth = Math.max(...depths);
    const servedSequence = servedDepth === 0 ? null : depths.indexOf(servedDepth);
    return { shard, servedDepth, servedSequence, sequences };
  });
  return {
    version: 3,
    manifest: 'f'.repeat(64),
    shards: rows,
    records: 40,
    erased: 2,
    missing: 0,
    repair: { policy: { policy: 'manual' }, pending: 0, since: null, isDue: false, dueAt: null },
    erasuresBySlice: orders[0]!.map(() => 0),
    deletionRate: 9,
  };
}
