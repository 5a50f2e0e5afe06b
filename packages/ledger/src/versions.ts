import { and, asc, desc, eq } from 'drizzle-orm';
import type { Db } from './database.ts';
import { LedgerError } from './errors.ts';
import { run, stages, versions } from './schema.ts';
import type { ActiveStage, ManifestOf, Stage } from './types.ts';

/** What a transaction has to know about the run. */
export interface RunKeys {
  id: string;
  salt: string;
  shards: number;
  slices: number;
}

/** Locks the run's row until the transaction ends: writers follow one another, on PostgreSQL too. */
export async function lockRun(tx: Db): Promise<RunKeys> {
  const [row] = await tx
    .select({ id: run.id, salt: run.salt, shards: run.shards, slices: run.slices })
    .from(run)
    .for('update');
  if (row === undefined) throw new LedgerError('no-run', 'the ledger holds no run yet');
  return row;
}

/** Stages in one fixed order: shard, position, id. */
export async function readStages(db: Db, state?: Stage['state'], shard?: number): Promise<Stage[]> {
  return db
    .select()
    .from(stages)
    .where(
      and(
        state === undefined ? undefined : eq(stages.state, state),
        shard === undefined ? undefined : eq(stages.shard, shard),
      ),
    )
    .orderBy(asc(stages.shard), asc(stages.position), asc(stages.id));
}

/** The newest version and its manifest's digest. */
export async function latestVersion(tx: Db): Promise<{ version: number; manifest: string }> {
  const [row] = await tx
    .select({ version: versions.version, manifest: versions.digest })
    .from(versions)
    .orderBy(desc(versions.version))
    .limit(1);
  if (row === undefined) throw new LedgerError('no-run', 'the ledger holds no version yet');
  return row;
}

/** Computes the manifest of what is active now and adds a version when it differs from the newest. Gives both. */
export async function nextVersion(
  tx: Db,
  before: { version: number; manifest: string } | null,
  manifestOf: ManifestOf,
  reason: string,
  at: number,
): Promise<{ after: { version: number; manifest: string }; active: ActiveStage[] }> {
  const active = (await readStages(tx, 'active')) as ActiveStage[];
  const { digest, manifest } = manifestOf(active);
  if (before !== null && before.manifest === digest) return { after: before, active };
  const version = before === null ? 0 : before.version + 1;
  await tx.insert(versions).values({ version, digest, manifest, reason, at });
  return { after: { version, manifest: digest }, active };
}
