// What the API sends, as far as the page reads it.

/**
 * @typedef {{ position: number, slice: number, stage: string, weights: string | null, active: boolean, records: number }} Stage
 * @typedef {{ order: number[], stages: Stage[] }} Sequence
 * @typedef {{ shard: number, servedDepth: number, servedSequence: number | null, sequences: Sequence[] }} Shard
 * @typedef {{ version: number, manifest: string, shards: Shard[], records: number, erased: number, missing: number, deletionRate: number }} Status
 * @typedef {{ stage: string, shard: number, sequence: number, position: number }} Deactivated
 * @typedef {{ version: number, manifest: string }} Served
 * @typedef {{ erasure: string, records: number, deactivated: Deactivated[], before: Served, after: Served, acknowledgedMs: number,
 *   receivedAt: string, acknowledgedAt: string, dryRun?: boolean, repeated?: boolean }} Receipt
 * @typedef {{ running: boolean, done: number, total: number, failed: string | null }} RepairState
 */

export {};
