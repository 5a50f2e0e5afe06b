import { SliceHash } from '@s3t/algorithm';
import type { Ledger, StoredRecord } from '@s3t/ledger';

/** What a slice holds. */
export interface SliceState {
  /** How many erasures had touched the slice before its records were read. */
  revision: number;
  digest: string;
  /** How many records it holds. */
  records: number;
}

/** Records hashed at once: what else waits for the thread comes after so many. */
const AT_ONCE = 5000;

/**
 * The digests of all slices. Whatever leaves a slice changes its revision, and nothing ever comes to one, so a slice is read again only where an
 * erasure touched it, not all records of the run.
 */
export class SliceDigests {
  readonly #ledger: Pick<Ledger, 'revisions' | 'records' | 'sliceRecords'>;
  #known: SliceState[][] = [];

  constructor(ledger: Pick<Ledger, 'revisions' | 'records' | 'sliceRecords'>) {
    this.#ledger = ledger;
  }

  /** [shard][slice]. An erasure meanwhile may or may not show in the digests; the revisions are those from before it. */
  async read(): Promise<readonly (readonly SliceState[])[]> {
    // Revisions first: an erasure in between makes a digest look old and not new, and the slice is read again next time.
    const revisions = await this.#ledger.revisions();
    const known = this.#known;
    const isKnown = (shard: number, slice: number) =>
      known[shard]?.[slice]?.revision === revisions[shard]![slice];
    const hashes = revisions.map((shard, s) =>
      shard.map((_, slice) => (isKnown(s, slice) ? null : new SliceHash())),
    );
    // One pass over all records for the first time, which keeps none of them; later by the slice.
    if (hashes.flat().every((hash) => hash !== null)) await addAll(hashes, this.#ledger.records());
    else
      for (const [shard, row] of hashes.entries())
        for (const [slice, hash] of row.entries())
          if (hash) await addAll(hashes, await this.#ledger.sliceRecords(shard, slice));
    // A table of its own: what another call, that began later, has found is newer than these revisions.
    const found = hashes.map((row, shard) =>
      row.map((hash, slice): SliceState => {
        if (!hash) return known[shard]![slice]!;
        return { revision: revisions[shard]![slice]!, digest: hash.digest(), records: hash.records };
      }),
    );
    this.#known = found;
    return found;
  }
}

async function addAll(
  hashes: readonly (readonly (SliceHash | null)[])[],
  records: AsyncIterable<StoredRecord> | Iterable<StoredRecord>,
): Promise<void> {
  let added = 0;
  for await (const record of records) {
    hashes[record.shard]![record.slice]!.add(record);
    if (++added % AT_ONCE === 0) await new Promise((resolve) => setTimeout(resolve, 0));
  }
}
