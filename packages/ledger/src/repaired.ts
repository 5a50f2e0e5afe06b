import { sha256Hex } from '@s3t/algorithm';
import { and, asc, eq, isNull, min, sum } from 'drizzle-orm';
import { append, head } from './chain.ts';
import type { Db } from './database.ts';
import { repairedStatement } from './log/statement.ts';
import { erasures } from './schema.ts';
import type { AwaitingRepair, Repaired } from './types.ts';
import { lockRun } from './versions.ts';

const waits = and(isNull(erasures.repairedAt), eq(erasures.state, 'completed'));

/** Completed erasures that no complete repair has followed, oldest first. */
export async function unrepaired(db: Db): Promise<string[]> {
  const rows = await db.select({ id: erasures.id }).from(erasures).where(waits).orderBy(asc(erasures.seq));
  return rows.map(({ id }) => id);
}

/** How many records they took, and when the first of them was. */
export async function awaitingRepair(db: Db): Promise<AwaitingRepair> {
  const [row] = await db
    .select({ records: sum(erasures.records).mapWith(Number), since: min(erasures.committedAt) })
    .from(erasures)
    .where(waits);
  return { records: row?.records ?? 0, since: row?.since ?? null };
}

/**
 * Writes that everything an erasure had cost is trained again: an entry of its own, which binds the statement with that time. Those that
 * are not completed, or repaired before, are left as they are.
 */
export async function markRepaired(tx: Db, ids: readonly string[], { at, served }: Repaired): Promise<void> {
  await lockRun(tx);
  for (const id of ids) {
    const where = and(eq(erasures.id, id), waits);
    const [row] = await tx
      .select({ statement: erasures.statement, acknowledgedSeq: erasures.acknowledgedSeq })
      .from(erasures)
      .where(where);
    if (row === undefined) continue;
    const { statement, acknowledgedSeq } = row;
    // The oldest erasures have no statement: the log says when they were repaired, and no receipt does.
    const bound =
      statement === null
        ? {}
        : {
            statement: sha256Hex(repairedStatement(statement, { at, served })),
            acknowledged: acknowledgedSeq,
          };
    const repairedSeq = await append(tx, await head(tx), {
      ...{ kind: 'repair', at, payload: { erasure: id, served, ...bound } },
    });
    await tx.update(erasures).set({ repairedAt: at, repairedSeq }).where(where);
  }
}
