import { cp, mkdir, open, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sha256Hex } from '@s3t/algorithm';
import { mnistDigits, writeIdx } from '@s3t/data';
import { openLedger, type StoredRecord } from '@s3t/ledger';
import { type RecordPlace, Unlearner } from '@s3t/unlearner';
import { manifestFunction } from '@s3t/unlearner/parts';

export const SHARDS = 3;

export interface TrainedRun {
  /** The run folder; nobody has it open. */
  folder: string;
  /** Where its records lie. */
  places: readonly RecordPlace[];
}

/** Trains a run on digits: vit-tiny, 3 shards, as many sequences as slices. */
export async function trainedRun(
  folder: string,
  { records, slices }: { records: number; slices: number },
): Promise<TrainedRun> {
  const digits = (await mnistDigits(import.meta.url)).slice(0, records);
  if (digits.length < records) throw new Error(`there are ${digits.length} digits, not ${records}`);
  await mkdir(join(folder, 'data'), { recursive: true });
  await writeIdx(join(folder, 'data'), 'train', {
    ...{ width: 28, height: 28 },
    images: digits.map(({ pixels }) => pixels),
    labels: digits.map(({ label }) => label),
  });
  const config = join(folder, 's3t.config.json');
  const content = {
    base: fileURLToPath(new URL('../../../assets/vit-tiny', import.meta.url)),
    task: 'image-classification',
    data: { train: 'data', labels: [...'0123456789'] },
    ...{ shards: SHARDS, slices, budget: slices },
    training: { epochs: 1, batchSize: 16 },
  };
  await writeFile(config, JSON.stringify(content));
  const run = join(folder, 'run');
  await using unlearner = await Unlearner.open({ run, config });
  await unlearner.train();
  return { folder: run, places: await unlearner.placements() };
}

/**
 * The same run with a ledger of `total` records: those added have neither data nor a share in a stage. Its tables and their indices are
 * as large as a run of that size has them, which is what an erasure has to do with. Such a run serves and erases; it cannot be repaired.
 * @param folder of the new run
 */
export async function grownRun(run: TrainedRun, folder: string, total: number): Promise<TrainedRun> {
  await using small = await openLedger({ store: 'file:', folder: run.folder });
  const known = (await small.run())!;
  const manifest = manifestFunction({ ...known, ensemble: undefined });
  await mkdir(folder, { recursive: true });
  for (const name of ['run.json', 'adapters'])
    await cp(join(run.folder, name), join(folder, name), { recursive: true });
  await using ledger = await openLedger({ store: 'file:', folder, manifest });
  const { config, setting, shards, slices, sequences, base } = known;
  async function* records(): AsyncGenerator<StoredRecord> {
    yield* small.records();
    for (let index = run.places.length; index < total; index++)
      yield {
        ...{ key: sha256Hex(`key ${index}`), digest: sha256Hex(`content ${index}`) },
        ...{ shard: index % shards, slice: Math.floor(index / shards) % slices },
      };
  }
  await ledger.createRun({ config, setting, shards, slices, sequences, base, records: records() });
  const active = (await small.activeStages()).sort((a, b) => a.position - b.position);
  for (const stage of active) await ledger.publishStage({ ...stage, guard: stage.slices.map(() => 0) });
  return { folder, places: run.places };
}

/** Copies a run folder, down to the disk: else the system would write hundreds of megabytes while the copy is measured. */
export async function copyRun(from: string, to: string): Promise<void> {
  await cp(from, to, { recursive: true });
  for (const entry of await readdir(to, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    await using file = await open(join(entry.parentPath, entry.name), 'r+');
    await file.sync();
  }
}

/** A picture to ask about, as the body of a request. */
export async function questions(count: number): Promise<string[]> {
  const digits = (await mnistDigits(import.meta.url)).slice(-count);
  return digits.map(({ pixels }) =>
    JSON.stringify({
      inputs: [{ image: { width: 28, height: 28, pixels: Buffer.from(pixels).toString('base64') } }],
    }),
  );
}
