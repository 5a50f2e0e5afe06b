import { digestOf, planStages, type StagePlan, sliceDigest } from '@s3t/algorithm';
import type { StageValues } from '@s3t/model';
import type { LocatedConfig } from '@s3t/unlearner';
import {
  groupsOf,
  type PreparedRun,
  type RunRecord,
  readSplit,
  recordsByKey,
  StageMeter,
} from '@s3t/unlearner/parts';
import type { MeasuredStage } from './prefixes.ts';

/** A run that was prepared and whose records are at hand, without a ledger: what baselines are trained on. */
export interface Bench {
  prepared: PreparedRun;
  /** Top-down, the layers of each adapter group. */
  groups: readonly (readonly number[])[];
  /** [shard][slice] */
  records: readonly (readonly (readonly RunRecord[])[])[];
  /** Every stage of every shard, parents first. */
  plan: readonly StagePlan[];
  /** What measures the epochs of a training; null where none is stopped early. */
  meter: StageMeter | null;
}

/** Places the records of a prepared run and plans its stages. */
export async function layOut(located: LocatedConfig, prepared: PreparedRun): Promise<Bench> {
  const { shards, slices } = located.config;
  const all = recordsByKey(located, await readSplit(located, 'train'));
  const records: RunRecord[][][] = Array.from({ length: shards }, () =>
    Array.from({ length: slices }, () => []),
  );
  const digests = records.map((shard) => shard.map((): { key: string; digest: string }[] => []));
  for (const { key, digest, shard, slice } of prepared.records) {
    records[shard]![slice]!.push(all.get(key)!);
    digests[shard]![slice]!.push({ key, digest });
  }
  const plan = planStages({
    setting: prepared.setting,
    sequences: prepared.sequences,
    sliceDigests: digests.map((shard) => shard.map(sliceDigest)),
  });
  const { config } = located;
  const meter = config.training.earlyStopping
    ? new StageMeter({ ...prepared, config }, await readSplit(located, 'eval'))
    : null;
  return { prepared, groups: groupsOf(prepared.form, config), records, plan, meter };
}

/** What a stage learns from. */
export function recordsOf({ records }: Bench, { shard, slices }: StagePlan): RunRecord[] {
  return slices.flatMap((slice) => [...records[shard]![slice]!]);
}

/** A stage and those above it, top-down, from those that were trained. */
export function chainOf(
  { groups, plan }: Bench,
  stage: StagePlan,
  trained: ReadonlyMap<string, StageValues>,
): MeasuredStage[] {
  const chain: MeasuredStage[] = [];
  for (let next: StagePlan | undefined = stage; next; ) {
    const { id, position, shard, parent }: StagePlan = next;
    chain.unshift({ layers: groups[position]!, values: trained.get(id)! });
    next = plan.find((one) => one.shard === shard && one.id === parent);
  }
  return chain;
}

/** The id of a full training: everything that its bytes depend on. */
export function fullTrainingId({ prepared }: Bench, records: readonly RunRecord[]): string {
  const lineage = sliceDigest(records.map(({ key, record }) => ({ key, digest: record.digest })));
  return digestOf({ format: 's3t-full-1', setting: prepared.setting, lineage });
}
