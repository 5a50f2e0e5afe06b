import { UnlearnerError } from './errors.ts';
import type { OpenedRun } from './open-run.ts';
import type { RightOfWay } from './right-of-way.ts';
import { placeRecords, readSplit } from './run-data.ts';
import type { RunRecords } from './run-records.ts';
import type { Serving } from './serving.ts';
import { type StackConfidences, stackConfidences } from './stack-confidences.ts';
import type { RecordPlace } from './types.ts';

/** Where the records that remain lie. */
export async function placementsOf({ ledger }: OpenedRun, records: RunRecords): Promise<RecordPlace[]> {
  const known = await records.training();
  const places: RecordPlace[] = [];
  for await (const { key, shard, slice } of ledger.records()) {
    const id = known.get(key)?.record.id;
    if (id !== undefined) places.push({ id, shard, slice });
  }
  return places;
}

/** How sure stacks are of the labels of training records; see `Unlearner.stackConfidences`. @param signal aborted by an erasure */
export async function confidencesOf(
  parts: { opened: OpenedRun; serving: Serving; erasures: RightOfWay; data: RunRecords },
  ids: readonly string[],
  which: 'served' | 'all',
  signal: () => AbortSignal,
): Promise<{ places: RecordPlace[]; stacks: StackConfidences[] }> {
  const { located } = parts.opened;
  const known = new Map((await readSplit(located, 'train')).map((record) => [record.id, record]));
  const records = ids.map((id) => {
    const record = known.get(id);
    if (record) return record;
    throw new UnlearnerError(
      'unknown-record',
      `${JSON.stringify(id)} is not in ${located.config.data.train}`,
    );
  });
  const places = placeRecords(located, records).map(({ shard, slice }, i) => ({
    id: ids[i]!,
    shard,
    slice,
  }));
  const all = [...records, ...(await parts.data.evaluation())];
  return { places, stacks: await stackConfidences(parts, all, which, signal()) };
}
