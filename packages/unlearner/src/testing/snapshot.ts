import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { ShardStatus, Status } from '../types.ts';
import type { Unlearner } from '../unlearner.ts';

/** What two runs on the same records must agree in: all but how often they changed, and what was erased. */
export interface Snapshot {
  manifest: string;
  records: number;
  missing: number;
  shards: readonly ShardStatus[];
}

export async function snapshotOf(run: Unlearner): Promise<Snapshot> {
  const { manifest, records, missing, shards } = await run.status();
  return { manifest, records, missing, shards };
}

/** The complete runs have the same stages with the same bytes, and serve the same of them. */
export function expectSame(repaired: Snapshot, clean: Snapshot): void {
  expect(clean.missing).toBe(0);
  expect(repaired.shards).toEqual(clean.shards);
  expect(repaired).toEqual(clean);
}

/** `shard/stage` -> weights, of every stage there is. */
export function weightsOf({ shards }: Pick<Status, 'shards'>): Map<string, string> {
  const weights = new Map<string, string>();
  for (const { shard, sequences } of shards)
    for (const { stages } of sequences)
      for (const stage of stages) if (stage.weights) weights.set(`${shard}/${stage.stage}`, stage.weights);
  return weights;
}

/** Every file of the run's adapter store, sorted. */
export async function adapterFiles(runFolder: string): Promise<string[]> {
  return (await readdir(join(runFolder, 'adapters'))).sort();
}

/** The store holds the adapters of the run's stages and nothing else. */
export async function expectOnlyActiveFiles(runFolder: string, run: Unlearner): Promise<void> {
  const weights = new Set(weightsOf(await run.status()).values());
  expect(await adapterFiles(runFolder)).toEqual([...weights].map((digest) => `${digest}.safetensors`).sort());
}
