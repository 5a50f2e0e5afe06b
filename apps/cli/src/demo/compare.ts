import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { StageStatus, Status } from '@s3t/unlearner';

/** A run folder and what it says of itself. */
export interface RunState {
  folder: string;
  status: Status;
}

export interface Comparison {
  identical: boolean;
  /** Stages compared, each once. */
  compared: number;
}

/** Compares the stages of some shards of two runs: that they want the same ones, and that these have the same bytes on disk. */
export async function compareRuns(
  one: RunState,
  other: RunState,
  shards: readonly number[],
): Promise<Comparison> {
  const [left, right] = [stagesOf(one.status, shards), stagesOf(other.status, shards)];
  let identical = left.size === right.size && left.size > 0;
  for (const [place, stage] of left) {
    const twin = right.get(place);
    if (twin?.stage !== stage.stage || !(await sameBytes(one.folder, stage, other.folder, twin)))
      identical = false;
  }
  return { identical, compared: new Set([...left.values()].map(({ stage }) => stage)).size };
}

function stagesOf({ shards }: Status, chosen: readonly number[]): Map<string, StageStatus> {
  const stages = new Map<string, StageStatus>();
  for (const { shard, sequences } of shards) {
    if (!chosen.includes(shard)) continue;
    for (const [sequence, { stages: list }] of sequences.entries()) {
      for (const stage of list) stages.set(`${shard}/${sequence}/${stage.position}`, stage);
    }
  }
  return stages;
}

async function sameBytes(
  folder: string,
  a: StageStatus,
  otherFolder: string,
  b: StageStatus,
): Promise<boolean> {
  if (a.weights === null || b.weights === null) return false;
  const [left, right] = await Promise.all([adapter(folder, a.weights), adapter(otherFolder, b.weights)]);
  return left.equals(right);
}

/** A run keeps every adapter in a file that is named by the digest of its bytes. */
function adapter(folder: string, weights: string): Promise<Buffer> {
  return readFile(join(folder, 'adapters', `${weights}.safetensors`));
}
