import type { RunConfig } from '@s3t/unlearner';

/** The paper's experiments, one for each of its scripts. */
export const EXPERIMENTS = ['glue', 'superglue', 'vit', 'llm', 'full-budget'] as const;
export type ExperimentName = (typeof EXPERIMENTS)[number];

/** What is written into s3t.config.json, without data and base. */
export interface Shape {
  shards: number;
  slices: number;
  layersPerSlice?: number;
  budget: number;
  sequences: { strategy: string };
  lora: RunConfig['lora'];
  training: Partial<RunConfig['training']>;
  quantization?: RunConfig['quantization'];
}

/** Where a data set is put for a run, and how the run reads it. */
export interface PreparedData {
  data: { train: string; eval: string } & Partial<Omit<RunConfig['data'], 'train' | 'eval'>>;
  /** What answers are measured with. Default: what the task is usually measured with. */
  evaluation?: { metric: string };
}

export interface PrepareOptions {
  /** Folder of the data set; undefined: what comes with a checkout. */
  source: string | undefined;
  /** The experiment's folder: data goes to `data` in it where it has to be rewritten. */
  out: string;
  /** Records to train on at most. */
  records?: number | undefined;
  evalRecords?: number | undefined;
  smoke: boolean;
  /** The token of the base between two texts. @throws LaboratoryError where its tokenizer has none */
  separator(): Promise<string>;
}

/** One data set of an experiment, as the paper trains on it. */
export interface Recipe {
  experiment: ExperimentName;
  dataset: string;
  title: string;
  task: RunConfig['task'];
  /** Hub id, or a path in a checkout. */
  base: string;
  /** Where it lies on the hub, and the folder of it; undefined: it is not fetched from there. */
  hub?: { id: string; folder: string } | undefined;
  shape: Shape;
  prepare(options: PrepareOptions): Promise<PreparedData>;
}
