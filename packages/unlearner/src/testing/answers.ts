import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Device } from '@s3t/engine';
import { scope, tensor } from '@s3t/engine';
import { openLedger } from '@s3t/ledger';
import {
  adapterGroups,
  type BaseModel,
  decodeStage,
  type Inputs,
  loadBaseModel,
  placeStage,
} from '@s3t/model';
import type { RunConfig } from '../config.ts';
import { exampleOfInput } from '../examples.ts';
import { outputNames } from '../tasks.ts';
import type { Input, LabelScore, ShardStatus, Status } from '../types.ts';
import type { Project } from './project.ts';

/**
 * What a run should answer, computed the plain way: every shard by itself from the files in the run folder, every layer of every shard,
 * one record after the other, nothing shared and nothing captured.
 */
export async function plainAnswers(
  project: Pick<Project, 'path'>,
  name: string,
  { shards }: Status,
  config: RunConfig,
  device: Device,
  inputs: readonly Input[],
): Promise<LabelScore[][]> {
  const base = await loadBaseModel(device, project.path('base'), {
    maxLength: config.data.maxLength,
    buckets: config.data.buckets,
  });
  const logits: Float32Array[][] = [];
  for (const shard of shards) {
    if (shard.servedSequence === null) continue;
    logits.push(await shardLogits(base, config, project.path(name), shard, inputs));
  }
  const names = outputNames(config);
  const ofLabels = config.ensemble === 'mean-probabilities' ? meanOfSoftmaxes : softmaxOfMean;
  const answer = config.task === 'text-regression' ? meanNumber : ofLabels;
  return inputs.map((_, i) =>
    answer(
      logits.map((ofShard) => ofShard[i]!),
      names,
    ),
  );
}

async function shardLogits(
  base: BaseModel,
  config: RunConfig,
  run: string,
  { servedSequence, servedDepth, sequences }: ShardStatus,
  inputs: readonly Input[],
): Promise<Float32Array[]> {
  const { lora, slices } = config;
  const { device, network } = base;
  const { architecture } = network;
  const form = { architecture, lora, outputs: outputNames(config).length };
  const groups = adapterGroups(architecture.layers, slices);
  const stages = await Promise.all(
    sequences[servedSequence!]!.stages.slice(0, servedDepth).map(async ({ position, weights: digest }) => {
      const layers = groups[position]!;
      const file = join(run, 'adapters', `${digest}.safetensors`);
      const bytes = new Uint8Array(await readFile(file));
      return { layers, ...placeStage(device, form, layers, decodeStage(bytes, form, layers, file), 'serve') };
    }),
  );
  const found: Float32Array[] = [];
  for (const input of inputs) {
    const encoded = base.encode(exampleOfInput(input, config, 'input'));
    const logits = scope(() => {
      const inputs: Inputs = Object.fromEntries(
        architecture.inputs.map(({ name, shape }) => [name, tensor(device, encoded[name]!, [1, ...shape])]),
      );
      let x = network.embed(inputs);
      for (let layer = 0; layer < architecture.layers; layer++) {
        const adapter = stages.find(({ layers }) => layers.includes(layer))?.stage.adapters.get(layer);
        x = network.layer(layer, x, { inputs, adapter });
      }
      return network.logits(x, stages.at(-1)!.stage.head);
    });
    found.push(await logits.read());
    logits.dispose();
  }
  for (const { parameters } of stages) for (const parameter of parameters.values()) parameter.dispose();
  return found;
}

function meanNumber(numbers: readonly Float32Array[], names: readonly string[]): LabelScore[] {
  const mean = numbers.reduce((sum, [number]) => sum + number! / numbers.length, 0);
  return [{ label: names[0]!, score: mean }];
}

function softmaxOfMean(logits: readonly Float32Array[], labels: readonly string[]): LabelScore[] {
  return best(softmax(meanOf(logits)), labels);
}

function meanOfSoftmaxes(logits: readonly Float32Array[], labels: readonly string[]): LabelScore[] {
  return best(meanOf(logits.map((row) => softmax([...row]))), labels);
}

function meanOf(rows: readonly ArrayLike<number>[]): number[] {
  return Array.from(rows[0]!, (_, i) => rows.reduce((sum, row) => sum + row[i]! / rows.length, 0));
}

function softmax(logits: readonly number[]): number[] {
  const powers = logits.map((value) => Math.exp(value - Math.max(...logits)));
  const total = powers.reduce((sum, value) => sum + value, 0);
  return powers.map((power) => power / total);
}

function best(scores: readonly number[], labels: readonly string[]): LabelScore[] {
  return labels.map((label, i) => ({ label, score: scores[i]! })).sort((a, b) => b.score - a.score);
}

/** What the ledger of a closed run says each manifest was made of: the stages of all its stacks, by the manifest's digest. */
export async function stagesByManifest(runFolder: string): Promise<Map<string, string[]>> {
  const ledger = await openLedger({ store: 'file:', folder: runFolder });
  try {
    const rows = await ledger.versions();
    return new Map(
      rows.map(({ digest, manifest }) => {
        const { stacks } = manifest as { stacks: { stages: { id: string }[] }[] };
        return [digest, stacks.flatMap(({ stages }) => stages.map(({ id }) => id))];
      }),
    );
  } finally {
    await ledger.close();
  }
}
