import { resolve } from 'node:path';
import { type PlacedRecord, type Placement, priorAwarePlacer, recordKey, subjectKey } from '@s3t/algorithm';
import { DataError, type DataRecord, loadRecords } from '@s3t/data';
import type { Ledger, StoredRecord } from '@s3t/ledger';
import type { LocatedConfig, RunConfig } from './config.ts';
import { UnlearnerError } from './errors.ts';
import { labelNumber, TASKS } from './tasks.ts';

/** A record of the run with what it is known by. */
export interface RunRecord {
  key: string;
  /** The number of its label, or of a regression the number itself; 0 where it has none. */
  label: number;
  record: DataRecord;
}

/** Reads one split of the configured data. @throws UnlearnerError `data` naming file, row and field */
export async function readSplit(
  { config, folder, file, decoder }: LocatedConfig,
  split: 'train' | 'eval',
): Promise<DataRecord[]> {
  const source = config.data[split];
  if (source === undefined) throw new UnlearnerError('config', `data.${split}: is missing`);
  try {
    // Nobody is erased from what is only measured with.
    const [subject, risk] = split === 'train' ? [config.data.subject, config.partition?.by] : [];
    const { reads, learns } = TASKS[config.task];
    const labels = learns === 'class' ? config.data.labels : undefined;
    const records = await loadRecords(
      source,
      split,
      { ...config.data, labels, subject, risk, decoder },
      folder,
    );
    for (const { id, label, ...content } of records) {
      if (!content[reads])
        throw new UnlearnerError(
          'data',
          `${source}: record ${id} has no ${reads}, which ${config.task} reads`,
        );
      if (label === null && learns !== 'tokens')
        throw new UnlearnerError('data', `${source}: record ${id} has no label`);
      if (Number.isNaN(labelNumber({ label }, config)))
        throw new UnlearnerError(
          'data',
          `${source}: record ${id}: field ${config.data.label}: ${JSON.stringify(label)} is no number that ${config.task} can learn`,
        );
    }
    return records;
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    // What is wrong with the source as a whole is as likely wrong in the configuration.
    const isSource =
      error.file === resolve(folder, source) && error.row === undefined && error.line === undefined;
    const place = isSource ? `${file}: data.${split}: ` : '';
    throw new UnlearnerError('data', `${place}${error.message}`, { cause: error });
  }
}

/** So many pictures are decoded at once: one after the other leaves cores idle, and more of them are no faster. */
const DECODED_AT_ONCE = 8;

/**
 * Decodes every picture once and keeps none: one that cannot be decoded would stop the training somewhere in its middle.
 * @param onCheck told how far it is
 * @throws UnlearnerError `data` naming the first record, in order, whose picture cannot be decoded
 */
export async function checkPictures(
  { config }: LocatedConfig,
  splits: Partial<Record<'train' | 'eval', readonly DataRecord[]>>,
  onCheck: (progress: CheckProgress) => void = () => {},
): Promise<void> {
  const pictures = Object.entries(splits).flatMap(([split, records]) =>
    records.flatMap(({ id, image }) =>
      image ? [{ source: config.data[split as 'train' | 'eval'], id, image }] : [],
    ),
  );
  for (let done = 0; done < pictures.length; done += DECODED_AT_ONCE) {
    onCheck({ done, total: pictures.length });
    const some = pictures.slice(done, done + DECODED_AT_ONCE);
    const outcomes = await Promise.allSettled(some.map(({ image }) => image()));
    outcomes.forEach((outcome, at) => {
      if (outcome.status === 'fulfilled') return;
      const { source, id } = some[at]!;
      if (!(outcome.reason instanceof DataError)) throw outcome.reason;
      const { message } = outcome.reason;
      throw new UnlearnerError('data', `${source}: record ${id}: ${message}`, { cause: outcome.reason });
    });
  }
}

/** How far the check of a fresh run's data is. */
export interface CheckProgress {
  done: number;
  total: number;
}

/** Where every record of a run goes. */
export function placeRecords({ config }: LocatedConfig, records: readonly DataRecord[]): StoredRecord[] {
  const { shards, slices, training, partition } = config;
  // By a record's own fields and the configuration alone: no record moves when another leaves.
  const options = { shards, slices, seed: training.seed, open: partition?.open ?? {} };
  const placeOf: (record: PlacedRecord) => Placement = priorAwarePlacer(options);
  return records.map(({ id, digest, subject, risk }) => ({
    ...{ key: recordKey(id), digest, ...placeOf({ id, likelihood: risk }) },
    subject: subject === undefined ? undefined : subjectKey(subject),
  }));
}

/**
 * A fresh run trains nothing on no records.
 * @param placed where the records lie
 * @throws UnlearnerError `data` when a slice comes out empty, with the nearest numbers of slices and shards that leave none
 */
export function refuseEmptySlices(
  located: LocatedConfig,
  records: readonly DataRecord[],
  placed: readonly StoredRecord[],
): void {
  const { config } = located;
  const empty = emptySlice(config, placed);
  if (empty === null) return;
  const fits = (change: Partial<RunConfig>): boolean => {
    const changed = { ...config, ...change };
    return emptySlice(changed, placeRecords({ ...located, config: changed }, records)) === null;
  };
  // From the nearest on; not more than there are records for, and not for ever.
  const below = (given: number, others: number) => {
    const most = Math.min(given - 1, Math.floor(records.length / others));
    return Array.from({ length: Math.max(0, Math.min(most, 100)) }, (_, i) => most - i);
  };
  // Classes name slices: with fewer of those, the partition is another.
  const slices = config.partition
    ? undefined
    : below(config.slices, config.shards).find((some) => fits({ slices: some }));
  const shards = below(config.shards, config.slices).find((some) => fits({ shards: some }));
  // One shard of one slice always does.
  const both = config.partition
    ? undefined
    : below(config.slices, 1).find((some) => fits({ shards: 1, slices: some }));
  const alone = [slices && `slices ${slices}`, shards && `shards ${shards}`].filter(Boolean).join(' or ');
  const would = alone || (both && `shards 1 and slices ${both}`);
  const advice = would ? `${would} would do` : 'it takes more records, or fewer shards and slices';
  throw new UnlearnerError(
    'data',
    `${config.data.train}: slice ${empty.slice} of shard ${empty.shard} got none of the ${placed.length} records; ${advice}`,
  );
}

function emptySlice({ shards, slices }: RunConfig, placed: readonly StoredRecord[]): Placement | null {
  const filled = new Set(placed.map(({ shard, slice }) => shard * slices + slice));
  for (let shard = 0; shard < shards; shard++)
    for (let slice = 0; slice < slices; slice++)
      if (!filled.has(shard * slices + slice)) return { shard, slice };
  return null;
}

/** Records by their keys. */
export function recordsByKey(
  { config }: LocatedConfig,
  records: readonly DataRecord[],
): Map<string, RunRecord> {
  return new Map(
    records.map((record) => {
      const key = recordKey(record.id);
      return [key, { key, label: labelNumber(record, config), record }];
    }),
  );
}

/**
 * The records of a run as the data holds them now, by key. Erased ones are skipped whether or not they are still there.
 * @throws UnlearnerError `data` naming a record that was changed, added or taken away behind the run's back
 */
export async function matchRecords(
  located: LocatedConfig,
  ledger: Ledger,
  records: readonly DataRecord[],
): Promise<Map<string, RunRecord>> {
  const source = located.config.data.train;
  const expected = new Map<string, string>();
  for await (const { key, digest } of ledger.records()) expected.set(key, digest);
  const isErased = await ledger.erasedFilter();
  const matched = new Map<string, RunRecord>();
  for (const own of recordsByKey(located, records).values()) {
    const { key, record } = own;
    const digest = expected.get(key);
    if (digest === undefined) {
      if (isErased(key)) continue;
      throw new UnlearnerError(
        'data',
        `${source}: record ${record.id} is not part of this run; start a new run to add it`,
      );
    }
    if (digest !== record.digest)
      throw new UnlearnerError(
        'data',
        `${source}: record ${record.id} was changed since the run began; erase it instead`,
      );
    matched.set(key, own);
  }
  if (matched.size < expected.size)
    throw new UnlearnerError('data', `${source}: ${missingRecords(located.config, expected, matched)}`);
  return matched;
}

/** What to say of records that were taken out of the data, and how to erase them instead. */
function missingRecords(
  { data }: RunConfig,
  expected: ReadonlyMap<string, string>,
  matched: ReadonlyMap<string, unknown>,
): string {
  const keys = [...expected.keys()].filter((key) => !matched.has(key));
  const those = keys.length === 1 ? '1 record of the run is' : `${keys.length} records of the run are`;
  // The ledger knows a record by a hash of its id. Which id that is can be told where ids are numbers of rows.
  const numbers = data.id === undefined ? [...expected.keys()].keys() : [];
  for (const row of numbers) {
    const id = `train/${row}`;
    if (recordKey(id) === keys[0])
      return `${those} missing, first ${id}; put it back, or erase it (s3t erase ${id})`;
  }
  const id = data.id === undefined ? '<label>/<file> in a folder of images' : `what field ${data.id} held`;
  return `${those} missing, first the one whose id hashes to ${keys[0]!.slice(0, 12)}; put it back, or erase it by its id, ${id} (s3t erase ID)`;
}
