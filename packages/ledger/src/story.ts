// What the log says: its entries, told again, give the rows that the tables should hold.
import { LedgerCorruptError } from './errors.ts';
import type { DeactivatedStage, Entry, Erased, StageState } from './types.ts';

/** A row's columns as far as the log tells them, by the names they have in the schema. */
export type Told = Record<string, unknown>;

interface ToldStage extends Told {
  position: number;
  slices: number[];
  sequences: number[];
  weights: string;
  state: StageState;
  erasure: string | null;
}

interface Served {
  version: number;
  manifest: string;
}

/** The rows of every table the log tells about, by their keys. Of receipts and statements the digests. */
export class Story {
  run: Told | null = null;
  /** By `<shard> <stage>`. */
  readonly stages = new Map<string, ToldStage>();
  readonly erasures = new Map<string, Told>();
  /** Commitment -> erasure. */
  readonly erased = new Map<string, string>();
  readonly versions = new Map<number, Told>();
  /** How many records should remain. */
  records = 0;
  #served: Served | null = null;
  /** What each erasure deactivated. */
  readonly #spoilt = new Map<unknown, ToldStage[]>();

  /** Goes on with the next entry. Throws LedgerCorruptError where it does not go with what was told before. */
  tell(entry: Entry): void {
    const payload = entry.payload as Told;
    const before = this.#served;
    if (entry.kind === 'create') this.#create(entry, payload);
    else if (entry.kind === 'publish') this.#publish(entry, payload);
    else if (entry.kind === 'erase') this.#erase(entry, payload, before);
    else if (entry.kind === 'acknowledge') this.#acknowledge(entry, payload);
    else if (entry.kind === 'repair') this.#repair(entry, payload);
    else throw new LedgerCorruptError(`ledger entry ${entry.seq} is of no known kind`, entry.seq);
  }

  #create({ at }: Entry, payload: Told): void {
    const { run, setting, shards, slices, sequences, base } = payload;
    this.run = { id: run, settingDigest: setting, shards, slices, sequences, base, createdAt: at };
    this.records = payload.records as number;
    this.#serve(payload, 'created', at);
  }

  #publish({ at }: Entry, payload: Told): void {
    const { stage, shard, version: _, manifest: __, ...row } = payload;
    this.stages.set(`${shard} ${stage}`, {
      ...(row as ToldStage),
      ...{ state: 'active', erasure: null, publishedAt: at, deactivatedAt: null, destroyedAt: null },
    });
    this.#serve(payload, `publish:${stage}`, at);
  }

  #erase({ seq, at }: Entry, payload: Told, before: Served | null): void {
    const erasure = payload.erasure as string;
    const commitments = payload.commitments as string[];
    const spoilt: ToldStage[] = [];
    const deactivated = (payload.deactivated as { shard: number; stage: string; weights: string }[]).map(
      ({ shard, stage, weights }): DeactivatedStage => {
        const row = this.stages.get(`${shard} ${stage}`);
        if (row?.state !== 'active')
          throw new LedgerCorruptError(
            `ledger entry ${seq} deactivates stage ${stage}, which was not active`,
            seq,
          );
        Object.assign(row, { state: 'deactivated', erasure, deactivatedAt: at });
        spoilt.push(row);
        const { sequences, position, slices } = row;
        return { stage, shard, sequences, position, slices, weights };
      },
    );
    this.#spoilt.set(erasure, spoilt);
    for (const commitment of commitments) this.erased.set(commitment, erasure);
    this.records -= commitments.length;
    this.#serve(payload, `erase:${erasure}`, at);
    const result = {
      ...{ erasure, records: commitments.length, commitments, deactivated },
      ...{ before: before as Served, after: this.#served as Served, repeated: false, dryRun: false },
    } satisfies Erased;
    this.erasures.set(erasure, {
      ...{ seq, requestDigest: payload.request, records: commitments.length, state: 'in_progress' },
      ...{ receivedAt: payload.receivedAt, committedAt: at, acknowledgedAt: null, destroyedAt: null, result },
      ...{ receipt: null, acknowledgedSeq: null, statement: null, repairedAt: null, repairedSeq: null },
    });
  }

  #acknowledge({ seq, at }: Entry, payload: Told): void {
    const { erasure, destroyedAt, receipt, statement = null } = payload;
    const row = this.erasures.get(erasure as string);
    if (row?.state !== 'in_progress')
      throw new LedgerCorruptError(`ledger entry ${seq} acknowledges what the log did not erase`, seq);
    Object.assign(row, { state: 'completed', acknowledgedAt: at, destroyedAt, receipt, statement });
    if (statement !== null) row.acknowledgedSeq = seq;
    // Erasures from before there were statements may not know their entry.
    else delete row.acknowledgedSeq;
    for (const stage of this.#spoilt.get(erasure) ?? [])
      Object.assign(stage, { state: 'destroyed', destroyedAt });
  }

  #repair({ seq, at }: Entry, payload: Told): void {
    const row = this.erasures.get(payload.erasure as string);
    if (row?.state !== 'completed' || row.repairedSeq !== null)
      throw new LedgerCorruptError(`ledger entry ${seq} repairs what the log did not complete`, seq);
    Object.assign(row, { repairedAt: at, repairedSeq: seq });
  }

  /** An entry names what is served after it; it is a version of its own where that has changed. */
  #serve(payload: Told, reason: string, at: number): void {
    const { version, manifest } = payload as unknown as Served;
    if (version !== this.#served?.version) this.versions.set(version, { digest: manifest, reason, at });
    this.#served = { version, manifest };
  }
}
