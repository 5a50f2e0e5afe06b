import { digestOf, sha256Hex } from '@s3t/algorithm';
import { and, asc, eq, inArray } from 'drizzle-orm';
import type { AdapterStore } from './adapter-store.ts';
import { append, asStored, head } from './chain.ts';
import type { Db } from './database.ts';
import { LedgerError } from './errors.ts';
import type { Journal } from './journal.ts';
import { erasures, stages } from './schema.ts';
import type { Erased } from './types.ts';
import { lockRun } from './versions.ts';

export interface Acknowledge {
  /** When the caller was told, and when the old weights were gone; milliseconds since 1970. */
  acknowledgedAt: number;
  destroyedAt: number;
  /** JSON the auditor gets. */
  receipt: unknown;
  /** What of it will be signed, as text: the log's entry binds its digest. */
  statement?: string;
}

/** Completes an erasure. Refuses while a file it spoiled still exists: a receipt must not say what is not so. */
export async function acknowledge(
  tx: Db,
  { adapters, journal }: { adapters: Pick<AdapterStore, 'has' | 'path'>; journal: Journal | null },
  id: string,
  input: Acknowledge,
): Promise<void> {
  const { acknowledgedAt, destroyedAt, statement } = input;
  const receipt = asStored(input.receipt);
  const run = await lockRun(tx);
  const [row] = await tx.select().from(erasures).where(eq(erasures.id, id));
  if (row === undefined) throw new LedgerError('no-erasure', `there is no erasure ${id}`);
  if (row.state === 'completed') {
    if (digestOf(asStored(row.receipt)) === digestOf(receipt)) return;
    throw new LedgerError('acknowledged', `erasure ${id} was acknowledged before, with another receipt`);
  }
  const { commitments, deactivated } = row.result as Erased;
  const destroyed = deactivated.length === 0 ? [] : await unreferenced(tx, id);
  const remains = await Promise.all(destroyed.map((weights) => adapters.has(weights)));
  const found = destroyed[remains.indexOf(true)];
  if (found !== undefined)
    throw new LedgerError(
      'not-destroyed',
      `erasure ${id} spoilt ${adapters.path(found)}, which still exists`,
    );
  // First, unless `Ledger.journal` has done it: what was acknowledged is carried out again even where the database is replaced by an older one.
  const journaled = {
    run: run.id,
    erasure: id,
    requestDigest: row.requestDigest,
    receivedAt: row.receivedAt,
  };
  await journal?.append({ ...journaled, commitments }, acknowledgedAt);
  if (deactivated.length > 0)
    await tx
      .update(stages)
      .set({ state: 'destroyed', destroyedAt })
      .where(and(eq(stages.erasure, id), eq(stages.state, 'deactivated')));
  const bound = statement === undefined ? {} : { statement: sha256Hex(statement) };
  const payload = { erasure: id, destroyedAt, destroyed, receipt: digestOf(receipt), ...bound };
  const acknowledgedSeq = await append(tx, await head(tx), {
    ...{ kind: 'acknowledge', at: acknowledgedAt, payload },
  });
  await tx
    .update(erasures)
    .set({ state: 'completed', acknowledgedAt, destroyedAt, receipt, acknowledgedSeq, statement })
    .where(eq(erasures.id, id));
}

/**
 * Weights of deactivated stages (of one erasure, or all) that no active stage has: these files must go. Two stages share
 * weights only where they share an id, that is where they were trained on the same records.
 */
export async function unreferenced(db: Db, erasure?: string): Promise<string[]> {
  const spoilt = await db
    .selectDistinct({ weights: stages.weights })
    .from(stages)
    .where(
      and(eq(stages.state, 'deactivated'), erasure === undefined ? undefined : eq(stages.erasure, erasure)),
    )
    .orderBy(asc(stages.weights));
  const digests = spoilt.map(({ weights }) => weights);
  if (digests.length === 0) return [];
  const kept = await db
    .select({ weights: stages.weights })
    .from(stages)
    .where(and(eq(stages.state, 'active'), inArray(stages.weights, digests)));
  const active = new Set(kept.map(({ weights }) => weights));
  return digests.filter((digest) => !active.has(digest));
}
