import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { SequenceError, selectSequences } from '@s3t/algorithm';
import { type DownloadProgress, loadTokenizer, resolveBase, resolveDataset } from '@s3t/model';
import { parseConfig, type RunConfig } from '@s3t/unlearner';
import { LaboratoryError } from './errors.ts';
import type { ExperimentName, Recipe, Shape } from './recipe.ts';
import { baseOf, smokeBase } from './smoke.ts';
import { TEXTS } from './texts.ts';
import { VISION } from './vision.ts';

/** Every row of the paper's runs. */
export const RECIPES: readonly Recipe[] = [...VISION, ...TEXTS];

/** What of a recipe may be changed; what is left out stays as the paper has it. */
export interface Changes {
  base?: string;
  shards?: number;
  slices?: number;
  layersPerSlice?: number;
  budget?: number;
  strategy?: string;
  rank?: number;
  dropout?: number;
  epochs?: number;
  batchSize?: number;
  learningRate?: number;
  seed?: number;
}

export interface PreparationOptions {
  experiment: ExperimentName;
  dataset: string;
  /** Folder of experiment and data; made if need be. */
  out: string;
  data?: string;
  records?: number;
  evalRecords?: number;
  /** A size that runs in minutes on two cores, with a small base and few records. */
  smoke?: boolean;
  changes?: Changes;
  onDownload?: (progress: DownloadProgress) => void;
}

/** What a smoke run is like, unless it is told otherwise. */
const SMOKE: Changes = { shards: 2, slices: 2, budget: 2, epochs: 1, batchSize: 16, learningRate: 4e-3 };

/** The recipe of a data set. @throws LaboratoryError naming those there are */
export function recipeOf(experiment: ExperimentName, dataset: string): Recipe {
  const own = RECIPES.filter((recipe) => recipe.experiment === experiment);
  const found = own.find((recipe) => recipe.dataset === dataset);
  if (found) return found;
  const names = own.map((recipe) => recipe.dataset).join(', ');
  throw new LaboratoryError('usage', `--dataset: ${experiment} has no ${dataset}; there are ${names}`);
}

/** What an experiment is run with, besides its data. */
export interface Planned extends Shape {
  base: string;
  task: RunConfig['task'];
}

/** A stand-in for data that is not looked at. */
const UNSEEN: Record<RunConfig['task'], object> = {
  'image-classification': { labels: ['0', '1'] },
  'text-classification': { text: ['text'], labels: ['0', '1'] },
  'text-regression': { text: ['text'], label: 'label' },
  'causal-lm': { text: ['text'] },
};

/** What an experiment would be run with. Nothing is fetched, read or written. @throws UnlearnerError or LaboratoryError naming what is wrong */
export function planExperiment(
  o: Pick<PreparationOptions, 'experiment' | 'dataset' | 'smoke' | 'changes'>,
): Planned {
  const recipe = recipeOf(o.experiment, o.dataset);
  const { smoke = false } = o;
  const changes: Changes = { ...(smoke ? SMOKE : {}), ...given(o.changes ?? {}) };
  const base = changes.base ?? (smoke ? smokeBase(recipe.task) : recipe.base);
  const planned = { base, task: recipe.task, ...changed(recipe.shape, changes, smoke) };
  const data = { train: 'data', eval: 'data', ...UNSEEN[recipe.task] };
  parseConfig({ ...planned, data }, `${o.experiment} ${o.dataset}`);
  refuseSequences(planned);
  return planned;
}

function refuseSequences({ sequences: { strategy }, slices, budget, training: { seed = 1 } }: Planned): void {
  try {
    selectSequences(strategy, { slices, budget, seed });
  } catch (error) {
    if (!(error instanceof SequenceError)) throw error;
    throw new LaboratoryError(
      'usage',
      `--${error.option === 'slices' ? 'num-slices' : error.option}: ${error.message}`,
    );
  }
}

/**
 * Puts data where a run finds it and writes s3t.config.json. An experiment that is there already goes on: its configuration must be the one
 * asked for.
 * @returns the path of the configuration
 */
export async function prepareExperiment(o: PreparationOptions): Promise<string> {
  const recipe = recipeOf(o.experiment, o.dataset);
  const { smoke = false, records, evalRecords, out } = o;
  const { base: named, task, ...shape } = planExperiment(o);
  const file = join(out, 's3t.config.json');
  const known = await readFile(file, 'utf8').catch(() => null);
  // Before anything in there is overwritten.
  if (known !== null && settingsIn(known) !== JSON.stringify({ task, ...shape })) refuseOther(out);
  await mkdir(out, { recursive: true });
  const base = await baseOf(named, out);
  const source = await sourceOf(o, recipe);
  const separator = () => separatorOf(base, o);
  const prepared = await recipe.prepare({ source, out, records, evalRecords, smoke, separator });
  const { data, evaluation } = prepared;
  const value = { base: located(base, out), task, data, ...(evaluation && { evaluation }), ...shape };
  parseConfig(value, file);
  const text = `${JSON.stringify(value, null, 2)}\n`;
  if (known !== null && known !== text) refuseOther(out);
  await writeFile(`${file}.part`, text);
  await rename(`${file}.part`, file);
  return file;
}

function refuseOther(out: string): never {
  throw new LaboratoryError(
    'usage',
    `--out: ${out} holds an experiment with other settings; name another folder, or give the same options to go on`,
  );
}

/** What a configuration says besides base and data; null where it is none. */
function settingsIn(text: string): string | null {
  try {
    const { base, data, evaluation, ...settings } = JSON.parse(text) as Record<string, unknown>;
    return JSON.stringify(settings);
  } catch {
    return null;
  }
}

/** The base is fetched for it where it has to be: it will be trained on next. */
async function separatorOf(base: string, { onDownload }: PreparationOptions): Promise<string> {
  const { separator } = await loadTokenizer(await resolveBase(base, { onProgress: onDownload }));
  if (separator !== null) return separator;
  throw new LaboratoryError(
    'usage',
    `--model: ${base}: its tokenizer ends a text without a token to join with`,
  );
}

/** The folder of the data set: a folder, or what the hub has under an id. */
async function sourceOf(
  { data, onDownload }: PreparationOptions,
  recipe: Recipe,
): Promise<string | undefined> {
  if (data === undefined || recipe.hub === undefined) return data;
  // Only its own data set has the fields that a recipe reads; a fork of it under another name may have them, too.
  return resolveDataset(data, recipe.hub.folder, { onProgress: onDownload });
}

/** The fields that have a value. */
function given<T extends object>(fields: T): Partial<T> {
  const own = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(own) as Partial<T>;
}

function changed(shape: Shape, changes: Changes, smoke: boolean): Shape {
  const { shards, slices, layersPerSlice, budget, strategy, rank, dropout, seed, ...others } = changes;
  const { epochs, batchSize, learningRate } = others;
  const { layersPerSlice: height, quantization, ...rest } = shape;
  // The paper's height goes with the paper's slices, and its quantisation with a large base.
  const kept = slices === undefined ? given({ layersPerSlice: height }) : {};
  const isFull = smoke && changes.strategy === undefined && shape.sequences.strategy === 'all';
  return {
    ...rest,
    ...kept,
    ...(smoke ? {} : given({ quantization })),
    ...given({ shards, slices, layersPerSlice, budget }),
    sequences: { strategy: strategy ?? (isFull ? 'all' : shape.sequences.strategy) },
    // alpha is a multiple of the rank in all of the paper's runs.
    lora: {
      ...shape.lora,
      ...given({ dropout }),
      ...(rank === undefined ? {} : { rank, alpha: (shape.lora.alpha / shape.lora.rank) * rank }),
    },
    training: { ...shape.training, ...given({ epochs, batchSize, learningRate, seed }) },
  } as Shape;
}

/** A path relative to the configuration; a hub id as it is. */
function located(base: string, out: string): string {
  return existsSync(resolve(base)) ? relative(resolve(out), resolve(base)) : base;
}
