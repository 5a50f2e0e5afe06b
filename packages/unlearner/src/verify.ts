import { createHash } from 'node:crypto';
import { planStages, type StagePlan, sliceDigest } from '@s3t/algorithm';
import type { ActiveStage } from '@s3t/ledger';
import { decodeStage, type FrozenStage } from '@s3t/model';
import type { Comparisons } from './comparisons.ts';
import { UnlearnerError } from './errors.ts';
import { KeptActivations } from './kept-activations.ts';
import type { Mutex } from './mutex.ts';
import type { OpenedRun } from './open-run.ts';
import { placeRecords, type RunRecord } from './run-data.ts';
import type { RunRecords } from './run-records.ts';
import { groupsOf } from './setting.ts';
import type { StageMeter } from './stage-meter.ts';
import { workStage } from './stage-work.ts';
import type { UnlearnerEvent, Verification } from './types.ts';

export interface VerifyOptions {
  /** Train every stage again, from nothing but the data. */
  fromScratch?: boolean;
  /** Only the stages of these shards, counted from 0. */
  shards?: readonly number[];
  /** Train this stage again, on the stored stages of its prefix. */
  stage?: string;
  signal?: AbortSignal;
}

export interface VerifyParts {
  opened: OpenedRun;
  records: RunRecords;
  /** Nothing is erased within it. */
  changes: Mutex;
  comparisons: Comparisons;
  emit: (event: UnlearnerEvent) => void;
}

/** The run at one moment: no erasure lies between the two. */
interface RunMoment {
  records: ReadonlyMap<string, RunRecord>;
  active: readonly ActiveStage[];
  /** What measures the epochs of a stage; null where none is stopped early. */
  meter: StageMeter | null;
}

/**
 * Holds the run against what it should be. Always: the log's chain, that the active stages are exactly those that the
 * data gives, and the digest of every stored adapter. On request stages are trained again and compared bit for bit.
 * @throws UnlearnerError `usage` for shards or a stage that the run has not; `unavailable` when records are erased meanwhile, since it then
 *   compares with what no longer is
 */
export async function verifyRun(
  parts: VerifyParts,
  options: VerifyOptions & { signal: AbortSignal },
): Promise<Verification> {
  const { opened, changes, comparisons } = parts;
  const records = await parts.records.training();
  const meter = await parts.records.meter();
  const { erasure, ...moment } = await changes.run(async () => ({
    erasure: comparisons.signal,
    records: new Map(records),
    meter,
    active: await opened.ledger.activeStages(),
  }));
  const signal = AbortSignal.any([erasure, options.signal]);
  return comparisons.run(() => compare(parts, moment, { ...options, signal }));
}

async function compare(
  parts: VerifyParts,
  { records, active: stages, meter }: RunMoment,
  { fromScratch = false, shards, stage, signal }: VerifyOptions & { signal: AbortSignal },
): Promise<Verification> {
  const { opened } = parts;
  const { ledger } = opened;
  if (shards) assertShards(shards, opened.run.shards);
  await ledger.verifyChain();
  const plan = planFromData(opened, records).filter(({ shard }) => !shards || shards.includes(shard));
  const active = new Map(stages.map((row) => [`${row.shard}/${row.id}`, row]));
  const chosen = stage === undefined ? plan : plan.filter(({ id }) => id === stage);
  if (stage !== undefined && chosen.length === 0)
    throw new UnlearnerError('usage', `${stage}: the run wants no such stage; see s3t status --json`);
  const differing = new Set<string>();
  // Active although the data no longer gives it: what no ledger may hold.
  const wanted = new Set(plan.map(({ shard, id }) => `${shard}/${id}`));
  if (stage === undefined)
    for (const [place, { id, shard }] of active)
      if ((!shards || shards.includes(shard)) && !wanted.has(place)) differing.add(id);
  // What no training has made yet, or an erasure took and no repair has brought back. The log and the tables agree on what is
  // active, or `verifyChain` had thrown: a stage that was lost is not among them.
  const weightsOf = ({ shard, id }: StagePlan) => active.get(`${shard}/${id}`)?.weights;
  const compared = chosen.filter((each) => weightsOf(each) !== undefined);
  const missing = chosen.filter((each) => weightsOf(each) === undefined);
  for (const each of compared) {
    signal.throwIfAborted();
    if (!(await isIntact(opened, weightsOf(each)!))) differing.add(each.id);
  }
  if (fromScratch || stage !== undefined) {
    const [stored, again] = stage === undefined ? [null, withPrefixes(compared, chosen)] : [stages, compared];
    const retrained = await retrain(parts, { records, meter }, again, stored, signal);
    for (const each of compared) if (weightsOf(each) !== retrained.get(each.id)) differing.add(each.id);
  }
  signal.throwIfAborted();
  return {
    // Nothing is no proof of anything.
    identical: differing.size === 0 && compared.length > 0,
    compared: compared.length,
    differing: [...differing],
    missing: missing.map(({ id }) => id),
  };
}

function assertShards(shards: readonly number[], count: number): void {
  if (shards.length === 0) throw new UnlearnerError('usage', 'shards: names none; leave it out for all');
  const odd = shards.find((shard) => !Number.isInteger(shard) || shard < 0 || shard >= count);
  if (odd !== undefined)
    throw new UnlearnerError('usage', `shards: ${odd} is none of this run's ${count}; they count from 0`);
}

/** These stages of a plan, in its order, and those that they stand on. */
function withPrefixes(stages: readonly StagePlan[], plan: readonly StagePlan[]): StagePlan[] {
  const byPlace = new Map(plan.map((each) => [`${each.shard}/${each.id}`, each]));
  const wanted = new Set<StagePlan>();
  for (const stage of stages)
    for (let at: StagePlan | undefined = stage; at; at = byPlace.get(`${at.shard}/${at.parent}`))
      wanted.add(at);
  return plan.filter((each) => wanted.has(each));
}

/** The stages that training on these records would make, from the data alone. */
function planFromData(
  { located, setting, run }: OpenedRun,
  records: ReadonlyMap<string, RunRecord>,
): StagePlan[] {
  const { shards, slices } = located.config;
  const table: { key: string; digest: string }[][][] = Array.from({ length: shards }, () =>
    Array.from({ length: slices }, () => []),
  );
  const placed = placeRecords(
    located,
    [...records.values()].map(({ record }) => record),
  );
  for (const { key, digest, shard, slice } of placed) table[shard]![slice]!.push({ key, digest });
  return planStages({
    setting,
    sequences: run.sequences,
    sliceDigests: table.map((row) => row.map(sliceDigest)),
  });
}

async function isIntact({ ledger }: OpenedRun, weights: string): Promise<boolean> {
  try {
    await ledger.adapters.get(weights);
    return true;
  } catch {
    return false;
  }
}

/**
 * Trains stages again and returns the digest of each one's bytes.
 * @param stored the stages whose adapters make up prefixes; null trains those again too and reads nothing from the store
 */
async function retrain(
  { opened, comparisons, emit }: VerifyParts,
  { records, meter }: Pick<RunMoment, 'records' | 'meter'>,
  plan: readonly StagePlan[],
  stored: readonly ActiveStage[] | null,
  signal: AbortSignal,
): Promise<Map<string, string>> {
  const { base, form, located, folder } = opened;
  const { config } = located;
  const groups = groupsOf(form, config);
  const placed = placeRecords(
    located,
    [...records.values()].map(({ record }) => record),
  );
  const trained = new Map<string, FrozenStage & { parent: string | null }>();
  const digests = new Map<string, string>();
  let keptShard: number | null = null;
  let activations: KeptActivations | null = null;
  try {
    for (const [index, stage] of plan.entries()) {
      signal.throwIfAborted();
      const { id, shard, position, slices, parent } = stage;
      emit({ type: 'stage-started', stage: id, shard, position, slices, index, stages: plan.length });
      const ofShard = placed.filter((record) => record.shard === shard);
      if (!activations || keptShard !== shard) {
        activations?.clear();
        activations = null;
        const all = ofShard.map(({ key }) => records.get(key)!);
        const layers = groups.map((group) => Math.min(...group));
        activations = await KeptActivations.compute({ base, records: all, layers, config, folder, signal });
        keptShard = shard;
      }
      const prefix = stored ? await storedPrefix(opened, stored, stage) : prefixOf(trained, parent);
      const own = ofShard.filter(({ slice }) => slices.includes(slice)).map(({ key }) => records.get(key)!);
      const context = { base, form, config, activations, meter, prefix, records: own };
      // What is placed from here on is waited for by the erasure that stops it.
      signal.throwIfAborted();
      const { values, bytes } = await comparisons.trainings.run(() =>
        workStage(
          context,
          stage,
          ({ step, steps, loss }) =>
            emit({ type: 'step', stage: id, step, steps, doneSteps: index, totalSteps: plan.length, loss }),
          signal,
        ),
      );
      trained.set(id, { layers: groups[position]!, values, parent });
      digests.set(id, createHash('sha256').update(bytes).digest('hex'));
    }
  } finally {
    activations?.clear();
  }
  return digests;
}

async function storedPrefix(
  { form, located, ledger }: OpenedRun,
  stored: readonly ActiveStage[],
  { shard, parent }: StagePlan,
): Promise<FrozenStage[]> {
  const groups = groupsOf(form, located.config);
  const rows = new Map(stored.filter((row) => row.shard === shard).map((row) => [row.id, row]));
  const prefix: FrozenStage[] = [];
  for (let at = parent; at !== null; ) {
    const row = rows.get(at);
    if (!row)
      throw new UnlearnerError('usage', `stage ${at}, which the asked one stands on, is not trained yet`);
    const bytes = (await ledger.adapters.get(row.weights)) as Uint8Array<ArrayBuffer>;
    const layers = groups[row.position]!;
    prefix.unshift({ layers, values: decodeStage(bytes, form, layers, ledger.adapters.path(row.weights)) });
    at = row.parent;
  }
  return prefix;
}

function prefixOf(
  trained: ReadonlyMap<string, FrozenStage & { parent: string | null }>,
  last: string | null,
): FrozenStage[] {
  const prefix: FrozenStage[] = [];
  for (let at = last; at !== null; at = trained.get(at)!.parent) prefix.unshift(trained.get(at)!);
  return prefix;
}
