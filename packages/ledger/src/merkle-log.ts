// The Merkle tree over the ledger's entries. Nothing of it is stored, and an erasure does not wait for it: before a root or a proof is
// given, the entries that were written since the last time are read and hashed, each once in the life of the process.
import { eq } from 'drizzle-orm';
import { readEntries } from './chain.ts';
import { type Database, guarded } from './database.ts';
import { LedgerCorruptError, LedgerError } from './errors.ts';
import { entryBytes, type LogEntry } from './log/entry.ts';
import { leafHash, MerkleTree } from './log/merkle.ts';
import { entries } from './schema.ts';

/** Roots and proofs of the log. All methods may throw LedgerError. */
export class MerkleLog {
  readonly #database: Database;
  readonly #tree = new MerkleTree();

  constructor(database: Database) {
    this.#database = database;
  }

  /** The log's size and root, now or when it had `size` entries. */
  async head(size?: number): Promise<{ size: number; root: string }> {
    const tree = await this.#caughtUp();
    return inRange(() => ({ size: size ?? tree.size, root: tree.root(size) }));
  }

  /** An entry and its audit path in the log as it was right after the entry: this never changes. */
  async proveEntry(seq: number): Promise<{ entry: LogEntry; index: number; size: number; hashes: string[] }> {
    const tree = await this.#caughtUp();
    const [row] = await guarded(() => this.#database.db.select().from(entries).where(eq(entries.seq, seq)));
    if (row === undefined) throw new LedgerError('no-entry', `the log has no entry ${seq}`);
    const { hash: _, ...entry } = row;
    if (leafHash(entryBytes(entry)) !== tree.leaf(seq))
      throw new LedgerCorruptError(`ledger entry ${seq} was changed after it was written`, seq);
    const size = seq + 1;
    return { entry, index: seq, size, hashes: tree.inclusion(seq, size) };
  }

  /** What shows that the log of `to` entries (left out, of all) begins with the log of `from` entries. */
  async proveConsistency(from: number, to?: number): Promise<{ from: number; to: number; hashes: string[] }> {
    const tree = await this.#caughtUp();
    const last = to ?? tree.size;
    assertSize('to', last, tree.size, 'the log has');
    assertSize('from', from, last, 'to is');
    return { from, to: last, hashes: tree.consistency(from, last) };
  }

  /** Adds what was written since. Two calls at once read the same entries; each is added by whoever comes first. */
  async #caughtUp(): Promise<MerkleTree> {
    const tree = this.#tree;
    await guarded(async () => {
      for await (const entry of readEntries(this.#database.db, tree.size))
        if (entry.seq === tree.size) tree.append(leafHash(entryBytes(entry)));
    });
    return tree;
  }
}

/** @throws LedgerError naming the field of a size that the log never had */
function assertSize(field: string, size: number, most: number, what: string): void {
  if (!(Number.isSafeInteger(size) && size >= 1 && size <= most))
    throw new LedgerError('log-size', `${field}: must be from 1 to ${most}, as ${what} ${most}; not ${size}`);
}

/** Sizes that the log never had are the caller's mistake. */
function inRange<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new LedgerError('log-size', error.message, { cause: error });
  }
}
