import type { DataRecord } from '@s3t/data';
import { ENSEMBLE_MODES, type EnsembleMode } from './combine.ts';
import type { RunConfig } from './config.ts';

/** What answers are measured with. */
export const METRIC_NAMES = [
  'accuracy',
  'matthews',
  'f1',
  'pearson',
  'spearman',
  'meanSquaredError',
  'perplexity',
] as const;
export type MetricName = (typeof METRIC_NAMES)[number];
/** Those that are better the smaller they are. */
export const LESS_IS_BETTER: ReadonlySet<MetricName> = new Set(['meanSquaredError', 'perplexity']);

export const TASK_NAMES = [
  'image-classification',
  'text-classification',
  'text-regression',
  'causal-lm',
] as const;
export type TaskName = (typeof TASK_NAMES)[number];

interface Task {
  /** What the records show the model. */
  reads: 'image' | 'text';
  /** What is learnt of a record: one of `data.labels`, the number in `data.label`, or each token's next one. */
  learns: 'class' | 'number' | 'tokens';
  /** What its answers can be measured with; the first unless `evaluation.metric` says otherwise. */
  metrics: readonly [MetricName, ...MetricName[]];
  /** How the answers of shards can become one. Numbers have no probabilities, and shards do not vote for each token. */
  ensembles: readonly EnsembleMode[];
}

const CLASS_METRICS: Task['metrics'] = ['accuracy', 'matthews', 'f1'];

export const TASKS: Readonly<Record<TaskName, Task>> = {
  'image-classification': {
    reads: 'image',
    learns: 'class',
    metrics: CLASS_METRICS,
    ensembles: ENSEMBLE_MODES,
  },
  'text-classification': {
    reads: 'text',
    learns: 'class',
    metrics: CLASS_METRICS,
    ensembles: ENSEMBLE_MODES,
  },
  'text-regression': {
    reads: 'text',
    learns: 'number',
    metrics: ['pearson', 'spearman', 'meanSquaredError'],
    ensembles: ['mean-logits'],
  },
  'causal-lm': {
    reads: 'text',
    learns: 'tokens',
    metrics: ['accuracy', 'perplexity'],
    ensembles: ['mean-logits', 'mean-probabilities'],
  },
};

type Asked = Pick<RunConfig, 'task' | 'data'>;

/** What stands for the one number of a regression where others have labels. */
const NUMBER_LABEL = 'value';

/** What the numbers of an answer are called, in the order of the model's outputs; a language model's have no names. */
export function outputNames({ task, data }: Asked): readonly string[] {
  return TASKS[task].learns === 'number' ? [NUMBER_LABEL] : data.labels;
}

/** The number that a record's label stands for: of a class its place in `data.labels`. NaN where it is none. */
export function labelNumber({ label }: Pick<DataRecord, 'label'>, { task, data }: Asked): number {
  const { learns } = TASKS[task];
  if (learns === 'tokens') return 0;
  if (label === null) return Number.NaN;
  if (learns === 'class') return data.labels.indexOf(label);
  // As JSON writes numbers: Number() would take an empty text for zero, and "0x10" for sixteen.
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(label.trim())) return Number.NaN;
  const number = Math.fround(Number(label));
  return Number.isFinite(number) ? number : Number.NaN;
}
