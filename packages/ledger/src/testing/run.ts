// What the tests share: a small run of 2 shards x 3 slices, two sequences, and stages that need no training.
import { createHash } from 'node:crypto';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CreateRun, Erase, Ledger, ManifestOf, PublishStage, StoredRecord } from '../index.ts';

export const SHARDS = 2;
export const SLICES = 3;
export const SEQUENCES: number[][] = [
  [0, 1, 2],
  [1, 2, 0],
];

export function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

export const manifestOf: ManifestOf = (active) => {
  const manifest = active.map(({ id, shard, sequences, weights }) => ({ id, shard, sequences, weights }));
  return { digest: digest(JSON.stringify(manifest)), manifest };
};

/** `count` records, spread over the slices in turn. */
export function testRecords(count: number): StoredRecord[] {
  return Array.from({ length: count }, (_, index) => ({
    key: digest(`record ${index}`),
    digest: digest(`content ${index}`),
    shard: index % SHARDS,
    slice: Math.floor(index / SHARDS) % SLICES,
  }));
}

export function testRun(count = 12): CreateRun {
  return {
    ...{ config: { base: 'tiny', seed: 1 }, setting: '{"seed":1}', shards: SHARDS, slices: SLICES },
    ...{ sequences: SEQUENCES, base: digest('base'), records: testRecords(count), manifest: manifestOf },
  };
}

/** The stage of a sequence's prefix over what the slices hold now: its id depends on their revisions, as real ids do on records. */
export function plan(
  revisions: number[][],
  shard: number,
  sequence: number,
  position: number,
): PublishStage & { bytes: Uint8Array } {
  const id = (upTo: number): string => {
    const of = (SEQUENCES[sequence] as number[]).slice(0, upTo + 1);
    return digest(`stage ${shard} ${of.map((slice) => `${slice}@${revisions[shard]?.[slice]}`).join()}`);
  };
  const slices = (SEQUENCES[sequence] as number[]).slice(0, position + 1);
  const bytes = new TextEncoder().encode(`weights of ${id(position)}`);
  return {
    ...{ id: id(position), shard, position, slices, sequences: [sequence] },
    ...{
      parent: position === 0 ? null : id(position - 1),
      lineage: slices.map((slice) => `${slice}@${revisions[shard]?.[slice]}`),
      bytes,
    },
    ...{ weights: createHash('sha256').update(bytes).digest('hex'), records: 2 },
    guard: slices.map((slice) => revisions[shard]?.[slice] ?? -1),
  };
}

/** Stores and publishes one stage. */
export async function publish(ledger: Ledger, shard: number, sequence: number, position: number) {
  const { bytes, ...stage } = plan(await ledger.revisions(), shard, sequence, position);
  await ledger.adapters.put(bytes);
  return { stage, published: await ledger.publishStage(stage) };
}

/** Publishes every stage of every sequence. */
export async function publishAll(ledger: Ledger): Promise<void> {
  for (let shard = 0; shard < SHARDS; shard++) {
    for (let sequence = 0; sequence < SEQUENCES.length; sequence++) {
      for (let position = 0; position < SLICES; position++) await publish(ledger, shard, sequence, position);
    }
  }
}

/** Destroys what an erasure spoilt and acknowledges it. */
export async function settle(
  ledger: Ledger,
  erasure: string,
  receipt: unknown = { erasure },
  statement?: string,
): Promise<void> {
  await ledger.adapters.destroyAll(await ledger.pendingDestruction(erasure));
  await ledger.acknowledge(erasure, { acknowledgedAt: 3000, destroyedAt: 2900, receipt, statement });
}

export async function temporaryFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 's3t-ledger-'));
}

/** An erasure request. */
export function request(of: string[], more: { idempotencyKey?: string; dryRun?: boolean } = {}): Erase {
  return { keys: of, requestDigest: digest(of.join()), receivedAt: 1000, at: 2000, ...more };
}

/** Collects an asynchronous sequence. */
export async function all<T>(sequence: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of sequence) items.push(item);
  return items;
}
