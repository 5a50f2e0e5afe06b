import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { type DownloadProgress, resolveDataset } from '@s3t/model';
import { parseConfig } from '@s3t/unlearner';
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

/**
 * Puts data where a run finds it and writes s3t.config.json. An experiment that is there already goes on: its configuration must be the one
 * asked for.
 * @returns the path of the configuration
 */
export async function prepareExperiment(o: PreparationOptions): Promise<string> {
  const recipe = recipeOf(o.experiment, o.dataset);
  const { smoke = false, records, evalRecords, out } = o;
  const changes: Changes = { ...(smoke ? SMOKE : {}), ...given(o.changes ?? {}) };
  await mkdir(out, { recursive: true });
  const base = await baseOf(changes.base ?? (smoke ? smokeBase(recipe.task) : recipe.base), out);
  const source = await sourceOf(o, recipe);
  const { data, evaluation } = await recipe.prepare({ source, out, records, evalRecords, smoke });
  const shape = changed(recipe.shape, changes, smoke);
  const value = {
    base: located(base, out),
    task: recipe.task,
    data,
    ...(evaluation && { evaluation }),
    ...shape,
  };
  const file = join(out, 's3t.config.json');
  parseConfig(value, file);
  const text = `${JSON.stringify(value, null, 2)}\n`;
  const known = await readFile(file, 'utf8').catch(() => null);
  if (known !== null && known !== text)
    throw new LaboratoryError(
      'usage',
      `--out: ${out} holds an experiment with other settings; name another folder, or give the same options to go on`,
    );
  await writeFile(`${file}.part`, text);
  await rename(`${file}.part`, file);
  return file;
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
