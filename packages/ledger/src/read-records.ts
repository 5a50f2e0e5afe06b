// A million rows through a driver's row parser take most of a minute; the same rows as four long strings a page take seconds.
import { asc, type SQL, sql } from 'drizzle-orm';
import type { Db } from './database.ts';
import { records } from './schema.ts';
import type { StoredRecord } from './types.ts';

/** The records `where` selects, in order of key, at most `limit` of them. */
export async function readRecords(db: Db, where: SQL | undefined, limit?: number): Promise<StoredRecord[]> {
  const ordered = db.select().from(records).where(where).orderBy(asc(records.key));
  const page = (limit === undefined ? ordered : ordered.limit(limit)).as('page');
  const [row] = await db
    .select({
      keys: sql<string | null>`encode(string_agg(${page.key}, ''::bytea order by ${page.key}), 'hex')`,
      digests: sql<string | null>`encode(string_agg(${page.digest}, ''::bytea order by ${page.key}), 'hex')`,
      shards: sql<string | null>`string_agg(${page.shard}::text, ',' order by ${page.key})`,
      slices: sql<string | null>`string_agg(${page.slice}::text, ',' order by ${page.key})`,
    })
    .from(page);
  const { keys, digests, shards, slices } = row ?? {};
  if (!keys || !digests || !shards || !slices) return [];
  const [shardOf, sliceOf] = [shards.split(','), slices.split(',')];
  return shardOf.map((shard, index) => ({
    key: keys.slice(index * 64, index * 64 + 64),
    digest: digests.slice(index * 64, index * 64 + 64),
    shard: Number(shard),
    slice: Number(sliceOf[index]),
  }));
}
