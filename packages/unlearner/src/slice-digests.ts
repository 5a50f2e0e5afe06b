import { SliceHash } from '@s3t/algorithm';
import type { Ledger, StoredRecord } from '@s3t/ledger';
import { UnlearnerError } from './errors.ts';

/** What a slice holds. */
export interface SliceState {
  /** How many erasures had touched the slice before its records were read. */
  revision: number;
  digest: string;
  /** How many records it holds. */
  records: number;
}

/** What is known of a slice, and whether this process has read its records. */
interface Known extends SliceState {
  isRead: boolean;
}

/** Records hashed at once: what else waits for the thread comes after so many. */
const AT_ONCE = 5000;
/** The ledger's note of what an earlier process has read. */
const NOTE = 'slice-digests';

type Ledgered = Pick<Ledger, 'revisions' | 'records' | 'sliceRecords' | 'notes' | 'note'>;

/**
 * The digests of all slices. Whatever leaves a slice changes its revision, and nothing ever comes to one, so a slice is read again only where an
 * erasure touched it, not all records of the run. They are kept beside the ledger: to say how a run stands, the next process need not read
 * them again. The log does not bind what is kept, so that nothing is trained by it: that takes digests of records that were read.
 */
export class SliceDigests {
  readonly #ledger: Ledgered;
  #known: readonly (readonly Known[])[] = [];
  #recalled: Promise<void> | null = null;
  #isKept = true;

  constructor(ledger: Ledgered) {
    this.#ledger = ledger;
  }

  /**
   * [shard][slice]. An erasure meanwhile may or may not show in the digests; the revisions are those from before it.
   * @param isToTrain whether stages will be trained by them
   * @throws UnlearnerError `corrupt` where a digest that was kept is not that of the records
   */
  async read({
    isToTrain = false,
  }: {
    isToTrain?: boolean;
  } = {}): Promise<readonly (readonly SliceState[])[]> {
    this.#recalled ??= this.#recall().catch((error: unknown) => {
      this.#recalled = null;
      throw error;
    });
    await this.#recalled;
    // Revisions first: an erasure in between makes a digest look old and not new, and the slice is read again next time.
    const revisions = await this.#ledger.revisions();
    const known = this.#known;
    const knownAt = (shard: number, slice: number): Known | undefined => {
      const found = known[shard]?.[slice];
      return found?.revision === revisions[shard]![slice] ? found : undefined;
    };
    const hashes = revisions.map((row, shard) =>
      row.map((_, slice) => {
        const found = knownAt(shard, slice);
        return found && (found.isRead || !isToTrain) ? null : new SliceHash();
      }),
    );
    const isAll = hashes.flat().every((hash) => hash !== null);
    // One pass over all records for the first time, which keeps none of them; later by the slice.
    if (isAll) await addAll(hashes, this.#ledger.records());
    else
      for (const [shard, row] of hashes.entries())
        for (const [slice, hash] of row.entries())
          if (hash) await addAll(hashes, await this.#ledger.sliceRecords(shard, slice));
    // A table of its own: what another call, that began later, has found is newer than these revisions.
    const found = hashes.map((row, shard) =>
      row.map((hash, slice): Known => {
        const before = knownAt(shard, slice);
        if (!hash) return before!;
        const [revision, digest] = [revisions[shard]![slice]!, hash.digest()];
        // An erasure meanwhile makes another digest, and another revision with it.
        if (before && before.digest !== digest && hash.records === before.records)
          throw new UnlearnerError(
            'corrupt',
            `shard ${shard}, slice ${slice}: the digest that the ledger keeps is not that of its records`,
          );
        return { revision, digest, records: hash.records, isRead: true };
      }),
    );
    if (hashes.flat().some((hash) => hash !== null)) this.#isKept = false;
    this.#known = found;
    if (isAll) await this.keep();
    return found;
  }

  /** Keeps what was read for the next process. Where that fails it has to read again. */
  async keep(): Promise<void> {
    if (this.#isKept) return;
    this.#isKept = true;
    const kept = this.#known.map((row) =>
      row.map(({ revision, digest, records }): SliceState => ({ revision, digest, records })),
    );
    await this.#ledger.note(NOTE, kept).catch(() => {
      this.#isKept = false;
    });
  }

  async #recall(): Promise<void> {
    const kept = (await this.#ledger.notes(NOTE)).get(NOTE);
    // What is not as `keep` writes it is nothing to go by.
    if (isTable(kept)) this.#known = kept.map((row) => row.map((state) => ({ ...state, isRead: false })));
  }
}

function isTable(value: unknown): value is SliceState[][] {
  const isState = (state: Partial<SliceState> | null) =>
    typeof state?.digest === 'string' && Number.isInteger(state.revision) && Number.isInteger(state.records);
  return Array.isArray(value) && value.every((row) => Array.isArray(row) && row.every(isState));
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
