import { deletionRate, type Manifest, type StagePlan } from '@s3t/algorithm';
import type { ActiveStage } from '@s3t/ledger';
import type { OpenedRun } from './open-run.ts';
import { repairStandingOf } from './repairs.ts';
import { stacksOf } from './setting.ts';
import type { StageStatus, Status } from './types.ts';
import { presence, recordsOf, type WantedStages } from './work.ts';

/** The run as it stands: every shard, sequence and position, trained or not. */
export async function statusOf(
  opened: Pick<OpenedRun, 'ledger' | 'located' | 'run'>,
  wanted: WantedStages,
): Promise<Status> {
  const { ledger, located, run } = opened;
  const { shards, slices } = located.config;
  const [active, version, counts, revisions, repair] = await Promise.all([
    ledger.activeStages(),
    ledger.version(),
    ledger.counts(),
    ledger.revisions(),
    repairStandingOf(opened),
  ]);
  const rows = new Map(active.map((stage) => [`${stage.shard}/${stage.id}`, stage]));
  const isPresent = presence(active);
  const stacks = stacksOf(active, run.sequences, shards);
  return {
    ...version,
    shards: stacks.map(({ shard, depth, sequence }) => ({
      shard,
      servedDepth: depth,
      servedSequence: sequence,
      sequences: run.sequences.map((order, number) => ({
        order,
        stages: order.map((slice, position) => {
          const plan = wanted.plan.find(
            (stage) =>
              stage.shard === shard && stage.position === position && stage.sequences.includes(number),
          )!;
          return stageStatus(plan, slice, rows.get(`${shard}/${plan.id}`), wanted);
        }),
      })),
    })),
    records: counts.records,
    erased: counts.erased,
    missing: wanted.plan.filter((plan) => !isPresent(plan)).length,
    repair,
    erasuresBySlice: Array.from({ length: slices }, (_, slice) =>
      revisions.reduce((sum, shard) => sum + shard[slice]!, 0),
    ),
    // Sequences that are drawn may begin with one slice.
    deletionRate: deletionRate({
      shards,
      slices,
      budget: new Set(run.sequences.map(([first]) => first)).size,
    }),
  };
}

function stageStatus(
  plan: StagePlan,
  slice: number,
  row: ActiveStage | undefined,
  wanted: WantedStages,
): StageStatus {
  const { id, position } = plan;
  return {
    position,
    slice,
    stage: id,
    weights: row?.weights ?? null,
    active: row !== undefined,
    records: recordsOf(plan, wanted),
  };
}

/** See `Unlearner.history`. */
export async function historyOf(
  { ledger, run }: Pick<OpenedRun, 'ledger' | 'run'>,
  limit: number,
): Promise<{ at: number; version: number; depths: number[] }[]> {
  return (await ledger.versions(limit)).map(({ at, version, manifest }) => {
    const depths = new Array<number>(run.shards).fill(0);
    for (const { shard, stages } of (manifest as Manifest).stacks) depths[shard] = stages.length;
    return { at, version, depths };
  });
}
