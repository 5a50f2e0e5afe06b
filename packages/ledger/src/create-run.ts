import { sha256Hex } from '@s3t/algorithm';
import { sql } from 'drizzle-orm';
import { append, start } from './chain.ts';
import { subjectHashOf } from './commitment.ts';
import type { Db } from './database.ts';
import { causeMessage, LedgerError } from './errors.ts';
import { run, slices } from './schema.ts';
import type { CreateRun, ManifestOf, StoredRecord } from './types.ts';
import { nextVersion } from './versions.ts';

/** Records per insert: 640 KB of keys, a few statements for 100,000. */
const CHUNK = 20_000;

/** Writes the run, its records, version 0 and the first entry. */
export async function createRun(tx: Db, input: CreateRun, manifestOf: ManifestOf, at: number): Promise<void> {
  const { config, setting, shards, sequences, base } = input;
  if ((await tx.select({ id: run.id }).from(run)).length > 0) {
    throw new LedgerError('run-exists', 'the ledger already holds a run');
  }
  // The salt is the one thing here that must not be reproducible: commitments to erased records must not be guessable.
  const salt = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('hex');
  const id = sha256Hex(`s3t run ${salt}`).slice(0, 32);
  await tx.insert(run).values({
    ...{ one: 1, id, config, setting, settingDigest: sha256Hex(setting), shards },
    ...{ slices: input.slices, sequences, base, salt, createdAt: at },
  });
  const counts = new SliceCounts(shards, input.slices);
  let chunk: StoredRecord[] = [];
  for await (const record of input.records) {
    counts.add(record);
    chunk.push(salted(record, salt));
    if (chunk.length === CHUNK) {
      await insertRecords(tx, chunk);
      chunk = [];
    }
  }
  if (chunk.length > 0) await insertRecords(tx, chunk);
  await tx.insert(slices).values(counts.rows());
  const { after: version } = await nextVersion(tx, null, manifestOf, 'created', at);
  const payload = {
    ...{
      run: id,
      setting: sha256Hex(setting),
      shards,
      slices: input.slices,
      sequences,
      base,
      records: counts.total,
    },
    ...version,
  };
  await append(tx, start, { kind: 'create', at, payload });
}

/** As it is stored: of its subject only what nobody can try names against without the salt. */
function salted(record: StoredRecord, salt: string): StoredRecord {
  const { subject } = record;
  return subject === undefined ? record : { ...record, subject: subjectHashOf(salt, subject) };
}

/** In the place of a subject, where there is none. */
const NOBODY = '0'.repeat(64);

/**
 * Inserts a chunk as five values: keys, digests and subjects each as one string of bytes that the database cuts up, which is several
 * times faster than a parameter per field.
 */
async function insertRecords(tx: Db, chunk: StoredRecord[]): Promise<void> {
  const keys = chunk.map(({ key }) => key).join('');
  const digests = chunk.map(({ digest }) => digest).join('');
  const subjects = chunk.map(({ subject = NOBODY }) => subject).join('');
  const shardOf = `{${chunk.map(({ shard }) => shard).join()}}`;
  const sliceOf = `{${chunk.map(({ slice }) => slice).join()}}`;
  const inserted = tx.execute(sql`
    insert into records (key, digest, shard, slice, subject)
    select substring(k from i * 32 + 1 for 32), substring(d from i * 32 + 1 for 32), shard, slice,
      nullif(substring(s from i * 32 + 1 for 32), decode(${NOBODY}::text, 'hex'))
    from (select decode(${keys}::text, 'hex') as k, decode(${digests}::text, 'hex') as d,
      decode(${subjects}::text, 'hex') as s) as bytes,
      (select (ordinality - 1)::int as i, shard, slice
       from unnest(${shardOf}::int[], ${sliceOf}::int[]) with ordinality as place(shard, slice)) as places`);
  await inserted.catch((error) => {
    if (/duplicate key/.test(causeMessage(error))) {
      throw new LedgerError('duplicate-record', 'two records of the run have the same key');
    }
    throw error;
  });
}

/** Counts records per slice, and refuses what the table could not say clearly. */
class SliceCounts {
  readonly #counts: number[][];
  total = 0;

  constructor(shards: number, slicesPerShard: number) {
    if (!(shards >= 1 && slicesPerShard >= 1))
      throw new LedgerError('invalid', 'a run has at least one shard and one slice');
    this.#counts = Array.from({ length: shards }, () => new Array<number>(slicesPerShard).fill(0));
  }

  add({ key, digest, shard, slice, subject }: StoredRecord): void {
    const row = this.#counts[shard];
    if (row?.[slice] === undefined) {
      throw new LedgerError(
        'invalid',
        `record ${this.total} is in shard ${shard}, slice ${slice}, which the run does not have`,
      );
    }
    for (const [name, value] of Object.entries({ key, digest, subject }))
      if (value !== undefined && !/^[0-9a-f]{64}$/.test(value))
        throw new LedgerError('invalid', `the ${name} of record ${this.total} must be 64 hex digits`);
    row[slice] += 1;
    this.total += 1;
  }

  rows(): { shard: number; slice: number; revision: number; records: number }[] {
    return this.#counts.flatMap((row, shard) =>
      row.map((count, slice) => ({ shard, slice, revision: 0, records: count })),
    );
  }
}
