import { sha256Hex } from '@s3t/algorithm';
import { and, arrayOverlaps, eq, sql } from 'drizzle-orm';
import { append, head } from './chain.ts';
import { commitmentOf, subjectHashOf } from './commitment.ts';
import type { Db } from './database.ts';
import {
  AlreadyErasedError,
  IdempotencyConflictError,
  LedgerError,
  UnknownRecordError,
  UnknownSubjectError,
} from './errors.ts';
import { erased, erasures, records, stages } from './schema.ts';
import type { DeactivatedStage, Erase, Erased, ErasedNow, GoneRecord, ManifestOf } from './types.ts';
import { latestVersion, lockRun, nextVersion, type RunKeys } from './versions.ts';

/** The erasure, in the caller's one transaction. Throws before it has changed anything, or has the transaction rolled back. */
export async function erase(tx: Db, input: Erase, manifestOf: ManifestOf, at: number): Promise<ErasedNow> {
  const run = await lockRun(tx);
  const answered = await repeatedAnswer(tx, input);
  if (answered !== null) return { ...answered, gone: [], active: null };
  const gone = await removeRecords(tx, run, input);
  const last = await head(tx);
  const id = input.id ?? sha256Hex(`s3t erasure ${run.salt} ${last.seq + 1} ${last.hash}`).slice(0, 32);
  const commitments = gone.map(({ key }) => commitmentOf(run.salt, key)).sort();
  await insertCommitments(tx, commitments, id);
  const deactivated: DeactivatedStage[] = [];
  for (const [shard, touched] of bySlice(gone)) {
    await bumpSlices(tx, shard, touched);
    deactivated.push(...(await deactivate(tx, shard, [...touched.keys()], id, at)));
  }
  deactivated.sort((a, b) => a.shard - b.shard || a.position - b.position || (a.stage < b.stage ? -1 : 1));
  const before = await latestVersion(tx);
  const { after, active } = await nextVersion(tx, before, manifestOf, `erase:${id}`, at);
  const result: Erased = {
    ...{ erasure: id, records: gone.length, commitments, deactivated, before, after },
    ...{ repeated: false, dryRun: input.dryRun === true },
  };
  await tx.insert(erasures).values({
    ...{
      id,
      seq: last.seq + 1,
      idempotencyKey: input.idempotencyKey ?? null,
      requestDigest: input.requestDigest,
    },
    ...{ records: gone.length, state: 'in_progress', receivedAt: input.receivedAt, committedAt: at, result },
  });
  const payload = {
    ...{ erasure: id, request: input.requestDigest, receivedAt: input.receivedAt, commitments },
    deactivated: deactivated.map(({ shard, stage, weights }) => ({ shard, stage, weights })),
    ...after,
  };
  await append(tx, last, { kind: 'erase', at, payload });
  return { ...result, gone, active };
}

async function repeatedAnswer(tx: Db, { idempotencyKey, requestDigest }: Erase): Promise<Erased | null> {
  if (idempotencyKey === undefined) return null;
  const [earlier] = await tx
    .select({ id: erasures.id, requestDigest: erasures.requestDigest, result: erasures.result })
    .from(erasures)
    .where(eq(erasures.idempotencyKey, idempotencyKey));
  if (earlier === undefined) return null;
  if (earlier.requestDigest !== requestDigest) throw new IdempotencyConflictError(earlier.id);
  return { ...(earlier.result as Erased), repeated: true };
}

async function removeRecords(tx: Db, run: RunKeys, { keys, subjects = [] }: Erase): Promise<GoneRecord[]> {
  const malformed = keys.flatMap((key, index) => (/^[0-9a-f]{64}$/.test(key) ? [] : index));
  if (malformed.length > 0) throw new UnknownRecordError(malformed, keys.length);
  const wanted = new Set([...keys, ...(await keysOfSubjects(tx, run, subjects))]);
  if (wanted.size === 0) throw new LedgerError('invalid', 'an erasure names at least one record');
  // One array parameter: any number of keys, and always an index scan.
  const gone = await tx
    .delete(records)
    .where(sql`${records.key} = any(${byteaArray(wanted)}::bytea[])`)
    .returning({ key: records.key, shard: records.shard, slice: records.slice });
  if (gone.length !== wanted.size) await explainMissing(tx, run, keys, new Set(gone.map(({ key }) => key)));
  return gone;
}

/** The records that remain of subjects. */
async function keysOfSubjects(tx: Db, run: RunKeys, subjects: readonly string[]): Promise<string[]> {
  if (subjects.length === 0) return [];
  const hashes = subjects.map((subject) => subjectHashOf(run.salt, subject));
  const rows = await tx
    .select({ key: records.key, subject: records.subject })
    .from(records)
    .where(sql`${records.subject} = any(${byteaArray(hashes)}::bytea[])`);
  const found = new Set(rows.map(({ subject }) => subject));
  const unknown = hashes.flatMap((hash, index) => (found.has(hash) ? [] : index));
  if (unknown.length > 0) throw new UnknownSubjectError(unknown, subjects.length);
  return rows.map(({ key }) => key);
}

async function explainMissing(
  tx: Db,
  run: RunKeys,
  keys: readonly string[],
  found: Set<string>,
): Promise<never> {
  const missing = keys.map((key, index) => ({ key, index })).filter(({ key }) => !found.has(key));
  const commitments = missing.map(({ key }) => commitmentOf(run.salt, key));
  const rows = await tx
    .select({ commitment: erased.commitment })
    .from(erased)
    .where(sql`${erased.commitment} = any(${byteaArray(commitments)}::bytea[])`);
  const before = new Set(rows.map(({ commitment }) => commitment));
  const unknown = missing.filter((_, index) => !before.has(commitments[index] ?? ''));
  if (unknown.length > 0)
    throw new UnknownRecordError(
      unknown.map(({ index }) => index),
      keys.length,
    );
  throw new AlreadyErasedError(
    missing.map(({ index }) => index),
    keys.length,
  );
}

async function insertCommitments(tx: Db, commitments: readonly string[], erasure: string): Promise<void> {
  await tx.execute(
    sql`insert into erased (commitment, erasure) select *, ${erasure}::text from unnest(${byteaArray(commitments)}::bytea[])`,
  );
}

/** shard -> slice -> how many records of it went, in order. */
function bySlice(gone: readonly GoneRecord[]): [number, Map<number, number>][] {
  const shards = new Map<number, Map<number, number>>();
  for (const { shard, slice } of gone) {
    const counts = shards.get(shard) ?? new Map<number, number>();
    counts.set(slice, (counts.get(slice) ?? 0) + 1);
    shards.set(shard, counts);
  }
  return [...shards].sort(([a], [b]) => a - b);
}

async function bumpSlices(tx: Db, shard: number, touched: Map<number, number>): Promise<void> {
  const [of, counts] = [`{${[...touched.keys()].join()}}`, `{${[...touched.values()].join()}}`];
  await tx.execute(sql`
    update slices set revision = revision + 1, records = records - gone.count
    from unnest(${of}::int[], ${counts}::int[]) as gone(slice, count)
    where slices.shard = ${shard}::int and slices.slice = gone.slice`);
}

/** Every active stage of the shard whose lineage holds one of the slices, at whatever place. */
async function deactivate(
  tx: Db,
  shard: number,
  touched: number[],
  erasure: string,
  at: number,
): Promise<DeactivatedStage[]> {
  const rows = await tx
    .update(stages)
    .set({ state: 'deactivated', erasure, deactivatedAt: at })
    .where(and(eq(stages.shard, shard), eq(stages.state, 'active'), arrayOverlaps(stages.slices, touched)))
    .returning();
  return rows.map(({ id, sequences, position, slices: of, weights }) => ({
    ...{ stage: id, shard, sequences, position, slices: of, weights },
  }));
}

/** An array literal: the one form both drivers pass on unchanged. */
function byteaArray(hex: Iterable<string>): string {
  return `{${Array.from(hex, (value) => `"\\\\x${value}"`).join()}}`;
}
