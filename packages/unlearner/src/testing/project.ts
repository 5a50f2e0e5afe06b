import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { placer } from '@s3t/algorithm';
import type { Device } from '@s3t/engine';
import type { VitConfig } from '@s3t/model';
import { Unlearner } from '../unlearner.ts';
import { LABELS, type MadeRecord, madeRecords, writeRecords } from './pictures.ts';
import { copyFolder, giveLedger, temporaryFolder } from './temporary.ts';
import { type MadeText, madeTexts, TEXT_LABELS, writeTexts } from './texts.ts';
import { tinyBase, writeBase } from './tiny-base.ts';

/** The fields of s3t.config.json a test may change; what is left out stays as in `CONFIG`. */
export interface ConfigChange {
  [field: string]: unknown;
}

/** 2 shards of 3 slices, two orders of them: 12 stages. */
export const CONFIG: ConfigChange = {
  base: 'base',
  task: 'image-classification',
  data: { train: 'train.jsonl', eval: 'eval.jsonl', id: 'id', label: 'label', image: 'path', labels: LABELS },
  shards: 2,
  slices: 3,
  budget: 2,
  lora: { rank: 4, alpha: 4, dropout: 0 },
  training: { epochs: 1, batchSize: 8, learningRate: 0.01, seed: 1 },
};

/** Pairs of texts on a RoBERTa: 2 shards of 2 slices, two orders of them. Its shapes are those of the reference that it is tested against. */
export const TEXT_CONFIG: ConfigChange = {
  base: 'base',
  task: 'text-classification',
  ensemble: 'mean-probabilities',
  data: {
    train: 'train.jsonl',
    eval: 'eval.jsonl',
    id: 'id',
    label: 'label',
    text: ['premise', 'hypothesis'],
    maxLength: 12,
    buckets: [8],
    labels: TEXT_LABELS,
  },
  shards: 2,
  slices: 2,
  budget: 2,
  lora: { rank: 4, alpha: 8, dropout: 0 },
  training: { epochs: 3, batchSize: 4, learningRate: 0.01, clipNorm: 1, seed: 1 },
};
const ROBERTA = fileURLToPath(new URL('../../../../tools/reference/roberta', import.meta.url));

/** Writes `<name>.jsonl`, and what it names, into a folder. */
type Write<R> = (folder: string, name: string, records: readonly R[]) => Promise<void>;

/** A folder with a base model, data and a configuration, and room for runs. Removed when disposed. */
export class Project<R extends { id: string } = MadeRecord> implements AsyncDisposable {
  readonly folder: string;
  readonly config: Record<string, unknown>;
  readonly records: readonly R[];
  readonly #write: Write<R>;

  private constructor(
    folder: string,
    config: Record<string, unknown>,
    records: readonly R[],
    write: Write<R>,
  ) {
    this.folder = folder;
    this.config = config;
    this.records = records;
    this.#write = write;
  }

  /** @param change fields of `CONFIG`, one level deep */
  static async make({
    change = {},
    base = {},
    records = madeRecords(48),
  }: {
    change?: ConfigChange;
    base?: Partial<VitConfig>;
    records?: readonly MadeRecord[];
  } = {}): Promise<Project> {
    const folder = await temporaryFolder();
    const project = new Project(folder, merged(CONFIG, change), records, writeRecords);
    await writeBase(join(folder, 'base'), tinyBase(base));
    await project.writeTrain(records);
    await writeRecords(folder, 'eval', madeRecords(10, 99));
    await project.writeConfig('s3t.config.json');
    return project;
  }

  /** @param change fields of `TEXT_CONFIG`, one level deep */
  static async makeOfTexts({
    change = {},
    records = madeTexts(192),
  }: {
    change?: ConfigChange;
    records?: readonly MadeText[];
  } = {}): Promise<Project<MadeText>> {
    const folder = await temporaryFolder();
    const project = new Project(folder, merged(TEXT_CONFIG, change), records, writeTexts);
    copyFolder(ROBERTA, join(folder, 'base'));
    await project.writeTrain(records);
    await writeTexts(folder, 'eval', madeTexts(40, 99));
    await project.writeConfig('s3t.config.json');
    return project;
  }

  get configFile(): string {
    return this.path('s3t.config.json');
  }

  path(...parts: string[]): string {
    return join(this.folder, ...parts);
  }

  /** Writes a configuration that differs from the project's in some fields; returns its path. */
  async writeConfig(name: string, change: ConfigChange = {}): Promise<string> {
    await writeFile(this.path(name), JSON.stringify(merged(this.config, change)));
    return this.path(name);
  }

  /** Replaces the training data. */
  async writeTrain(records: readonly R[]): Promise<void> {
    await this.#write(this.folder, 'train', records);
  }

  /** Creates a run folder by its name, or opens it. A fresh one gets a copy of an empty ledger, which takes no time. */
  async open(
    name: string,
    { device, config = this.configFile }: { device?: Device; config?: string } = {},
  ): Promise<Unlearner> {
    const run = this.path(name);
    giveLedger(run);
    return Unlearner.open({ run, config, device });
  }

  /** A copy of a closed run, as it is. */
  async copy(from: string, to: string): Promise<void> {
    copyFolder(this.path(from), this.path(to));
  }

  /** The ids of the records in a slice, in the order of the data. */
  idsIn(shard: number, slice: number, config: Record<string, unknown> = this.config): string[] {
    const { shards, slices, training } = config as {
      shards: number;
      slices: number;
      training: { seed: number };
    };
    const placeOf = placer({ shards, slices, seed: training.seed });
    return this.records
      .map(({ id }) => id)
      .filter((id) => {
        const place = placeOf(id);
        return place.shard === shard && place.slice === slice;
      });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Objects are merged field by field, everything else is replaced; undefined takes a field away. */
export function merged(whole: object, change: object): Record<string, unknown> {
  const result: Record<string, unknown> = { ...whole };
  for (const [field, value] of Object.entries(change)) {
    const old = result[field];
    if (value === undefined) delete result[field];
    else if (isPlain(old) && isPlain(value)) result[field] = merged(old, value);
    else result[field] = value;
  }
  return result;
}

function isPlain(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
