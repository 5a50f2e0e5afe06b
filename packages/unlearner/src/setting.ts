import {
  type Manifest,
  manifestDigest,
  type Stack,
  type StagePlan,
  type StageSetting,
  servedStacks,
  sha256Hex,
} from '@s3t/algorithm';
import { sharpDecoder } from '@s3t/data';
import { kernelIdentity } from '@s3t/engine';
import type { ActiveStage, ManifestOf } from '@s3t/ledger';
import { type Architecture, adapterGroups, type StageForm } from '@s3t/model';
import type { EnsembleMode } from './combine.ts';
import type { RunConfig } from './config.ts';
import { stoppingMetricOf } from './stage-meter.ts';
import { TASKS } from './tasks.ts';

/**
 * Everything but the lineage that the bytes of a stage depend on. Paths, shards and the store are no part of it.
 * @param options.evaluation the digest of the evaluation data where that decides how long stages are trained
 * @param options.decoder the name of what decodes images, where it is not the usual one
 */
export function stageSetting(
  config: RunConfig,
  {
    digest,
    buckets,
    network,
  }: {
    digest: string;
    buckets: readonly number[];
    network: { architecture: Pick<Architecture, 'tokens'> };
  },
  { evaluation = null, decoder }: { evaluation?: string | null; decoder?: string | undefined } = {},
): StageSetting {
  const { lora, task, data, slices, layersPerSlice, quantization } = config;
  // Where and how much is kept changes no bit, nor does what is trained in one batch; that it is rounded does.
  const { keep, earlyStopping, activations, together: _, ...training } = config.training;
  const isHalf = activations === 'f16';
  return {
    base: digest,
    kernels: sha256Hex(kernelIdentity()),
    task,
    labels: data.labels,
    ...(TASKS[task].reads === 'text' && { text: data.text, maxLength: network.architecture.tokens }),
    // Which records are learnt from together, and in rows of what length. One length is what stages had before there were several.
    ...(buckets.length > 1 && { buckets }),
    ...(TASKS[task].reads === 'image' && decoder && decoder !== sharpDecoder.name && { decoder }),
    ...(data.format && { format: data.format }),
    // Only where it is given: without it ids stay what they were before there was one.
    ...(quantization && { quantization }),
    // What is f16 already is kept as it is.
    ...(keep?.dtype === 'f16' && !isHalf && { activations: 'f16' }),
    adapterGroups: slices,
    ...(layersPerSlice && { layersPerSlice }),
    lora: { ...lora, targets: [...lora.targets].sort() },
    training: {
      ...training,
      ...(isHalf && { activations }),
      ...(earlyStopping && { earlyStopping: { ...earlyStopping, metric: stoppingMetricOf(config) } }),
    },
    ...(earlyStopping && { data: { eval: evaluation } }),
  };
}

/** The layers of each slice's adapter group. @throws OptionError when the base has too few */
export function groupsOf(
  { architecture }: Pick<StageForm, 'architecture'>,
  { slices, layersPerSlice }: Pick<RunConfig, 'slices' | 'layersPerSlice'>,
): number[][] {
  return adapterGroups(architecture.layers, slices, layersPerSlice);
}

/** The stacks that the active stages give. A stack that learnt from no record (its slices were erased whole) answers nothing. */
export function stacksOf(
  active: readonly ActiveStage[],
  sequences: readonly number[][],
  shards: number,
): Stack[] {
  const parents = new Set<string>();
  const plan: StagePlan[] = [];
  // Children first: a stage without records is kept where one with records stands on it.
  for (const stage of [...active].sort((a, b) => b.position - a.position)) {
    if (stage.records === 0 && !parents.has(`${stage.shard}/${stage.id}`)) continue;
    parents.add(`${stage.shard}/${stage.parent}`);
    plan.push({ ...stage, lineage: [] });
  }
  return servedStacks(plan, sequences, shards, () => true);
}

/** The manifest of the ensemble that the active stages give, for the ledger to compute in its transactions. */
export function manifestFunction(run: {
  base: string;
  settingDigest: string;
  sequences: readonly number[][];
  shards: number;
  ensemble: EnsembleMode | undefined;
}): ManifestOf {
  return (active) => {
    const weights = new Map(active.map((stage) => [stage.id, stage.weights]));
    const stacks = stacksOf(active, run.sequences, run.shards).map(({ shard, sequence, stages }) => ({
      shard,
      sequence,
      stages: stages.map((id) => ({ id, weights: weights.get(id)! })),
    }));
    // No stage depends on it, every answer does: it is part of what the served ensemble is.
    const { ensemble = 'mean-logits' } = run;
    const manifest: Manifest = {
      base: run.base,
      setting: run.settingDigest,
      ...(ensemble !== 'mean-logits' && { ensemble }),
      stacks,
    };
    return { digest: manifestDigest(manifest), manifest };
  };
}
