// The log: every entry's hash covers the hash before it, so no entry can change, vanish or move without breaking all that follow.

import { type CanonicalValue, sha256Hex } from '@s3t/algorithm';
import { asc, desc, gt } from 'drizzle-orm';
import type { Db } from './database.ts';
import { LedgerCorruptError } from './errors.ts';
import { entryBytes } from './log/entry.ts';
import { entries } from './schema.ts';
import type { Entry } from './types.ts';

const FIRST = '0'.repeat(64);
const PAGE = 2000;

/** The hash of an entry, from everything but itself. */
export function entryHash(entry: Omit<Entry, 'hash'>): string {
  return sha256Hex(entryBytes(entry));
}

/** The last entry's seq and hash; seq -1 of an empty log. */
export async function head(tx: Db): Promise<{ seq: number; hash: string }> {
  const rows = await tx
    .select({ seq: entries.seq, hash: entries.hash })
    .from(entries)
    .orderBy(desc(entries.seq))
    .limit(1);
  return rows[0] ?? { seq: -1, hash: FIRST };
}

/** A value as the database will give it back: JSON drops undefined fields, and a digest must not depend on them. */
export function asStored(value: unknown): CanonicalValue {
  return JSON.parse(JSON.stringify(value ?? null));
}

/** Adds an entry after `last` and returns its seq. Only inside a transaction that holds the run's row. */
export async function append(
  tx: Db,
  last: { seq: number; hash: string },
  entry: { kind: string; at: number; payload: unknown },
): Promise<number> {
  const next = {
    seq: last.seq + 1,
    kind: entry.kind,
    at: entry.at,
    payload: entry.payload,
    previous: last.hash,
  };
  await tx.insert(entries).values({ ...next, hash: entryHash(next) });
  return next.seq;
}

/** The entries from `seq` on in order, a page at a time. */
export async function* readEntries(db: Db, seq = 0): AsyncGenerator<Entry> {
  let after = seq - 1;
  for (;;) {
    const page = await db
      .select()
      .from(entries)
      .where(gt(entries.seq, after))
      .orderBy(asc(entries.seq))
      .limit(PAGE);
    for (const entry of page) yield entry;
    if (page.length < PAGE) return;
    after = page[page.length - 1]?.seq ?? after;
  }
}

/** Throws LedgerCorruptError unless `entry` follows `last`; returns the new last. */
export function follow(last: { seq: number; hash: string }, entry: Entry): { seq: number; hash: string } {
  if (entry.seq !== last.seq + 1) {
    throw new LedgerCorruptError(`ledger entry ${last.seq + 1} is missing`, last.seq + 1);
  }
  if (entry.previous !== last.hash) {
    throw new LedgerCorruptError(`ledger entry ${entry.seq} does not follow entry ${last.seq}`, entry.seq);
  }
  if (entryHash(entry) !== entry.hash) {
    throw new LedgerCorruptError(`ledger entry ${entry.seq} was changed after it was written`, entry.seq);
  }
  return { seq: entry.seq, hash: entry.hash };
}

export const start: { seq: number; hash: string } = { seq: -1, hash: FIRST };
