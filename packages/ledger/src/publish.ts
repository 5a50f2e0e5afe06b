import { and, eq, inArray } from 'drizzle-orm';
import { append, head } from './chain.ts';
import type { Db } from './database.ts';
import { DeterminismError, LedgerError } from './errors.ts';
import { slices, stages } from './schema.ts';
import type { ManifestOf, Published, PublishStage, Stage } from './types.ts';
import { latestVersion, lockRun, nextVersion } from './versions.ts';

/** Makes a trained stage part of the ensemble, unless an erasure has touched its lineage since the training was planned. */
export async function publishStage(
  tx: Db,
  input: PublishStage,
  manifestOf: ManifestOf,
  at: number,
): Promise<Published> {
  const { id, shard, position, parent, lineage, weights, records } = input;
  checkShape(input);
  await lockRun(tx);
  if (!(await unchanged(tx, input))) return { published: false, reason: 'superseded' };
  const same = await tx.select().from(stages).where(eq(stages.id, id));
  for (const stored of same) {
    if (stored.weights !== weights) throw new DeterminismError(id, stored.weights, weights);
  }
  if (parent !== null && !(await isActive(tx, shard, parent))) {
    throw new LedgerError(
      'parent-missing',
      `stage ${id} was published before its parent ${parent} in shard ${shard}`,
    );
  }
  const before = await latestVersion(tx);
  const mine = same.find((stage) => stage.shard === shard);
  const sequences = union(mine?.state === 'active' ? mine.sequences : [], input.sequences);
  if (mine?.state === 'active' && sequences.length === mine.sequences.length) {
    return { published: true, repeated: true, ...before };
  }
  const stage: Stage = {
    ...{ id, shard, position, slices: input.slices, sequences, parent, lineage, weights, records },
    ...{ state: 'active', erasure: null, publishedAt: at, deactivatedAt: null, destroyedAt: null },
  };
  await tx
    .insert(stages)
    .values(stage)
    .onConflictDoUpdate({ target: [stages.shard, stages.id], set: stage });
  const { after } = await nextVersion(tx, before, manifestOf, `publish:${id}`, at);
  const payload = {
    ...{ stage: id, shard, position, slices: input.slices, sequences, parent, lineage, weights, records },
    ...after,
  };
  await append(tx, await head(tx), { kind: 'publish', at, payload });
  return { published: true, repeated: false, ...after };
}

function checkShape({ id, position, parent, slices: of, guard }: PublishStage): void {
  const sound =
    of.length === position + 1 && guard.length === of.length && (parent === null) === (position === 0);
  if (!sound) {
    throw new LedgerError(
      'invalid',
      `stage ${id} at position ${position} needs ${position + 1} slices with as many revisions, and a parent unless it is the first`,
    );
  }
}

/** Whether the slices still are at the revisions the training was planned with. */
async function unchanged(tx: Db, { id, shard, slices: of, guard }: PublishStage): Promise<boolean> {
  const rows = await tx
    .select()
    .from(slices)
    .where(and(eq(slices.shard, shard), inArray(slices.slice, of)));
  const revisions = new Map(rows.map(({ slice, revision }) => [slice, revision]));
  return of.every((slice, index) => {
    const revision = revisions.get(slice);
    if (revision === undefined) {
      throw new LedgerError(
        'invalid',
        `stage ${id} names shard ${shard}, slice ${slice}, which the run does not have`,
      );
    }
    return revision === guard[index];
  });
}

async function isActive(tx: Db, shard: number, id: string): Promise<boolean> {
  const rows = await tx
    .select({ id: stages.id })
    .from(stages)
    .where(and(eq(stages.shard, shard), eq(stages.id, id), eq(stages.state, 'active')));
  return rows.length > 0;
}

/** Two lineages of a shard have one id when their slices hold the same records (both empty): the stage serves the sequences of both. */
function union(left: readonly number[], right: readonly number[]): number[] {
  return [...new Set([...left, ...right])].sort((a, b) => a - b);
}
