import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { ImageDecoder } from '@s3t/data';
import { QUANTIZATIONS, type Quantization } from '@s3t/model';
import * as v from 'valibot';
import { ENSEMBLE_MODES, type EnsembleMode } from './combine.ts';
import { explain } from './config-problems.ts';
import { checkTask } from './config-task.ts';
import { UnlearnerError } from './errors.ts';
import { METRIC_NAMES, type MetricName, TASK_NAMES, type TaskName } from './tasks.ts';

const count = v.pipe(v.number(), v.integer('must be a whole number'), v.minValue(1, 'must be at least 1'));
/** What the partition can tell apart without bias. */
const places = v.pipe(count, v.maxValue(2 ** 24, 'must be at most 16777216'));
const fraction = v.pipe(v.number(), v.minValue(0, 'must be at least 0'), v.maxValue(1, 'must be at most 1'));
const positive = v.pipe(v.number(), v.gtValue(0, 'must be more than 0'));
const text = v.pipe(v.string(), v.nonEmpty('must not be empty'));

/** How a language model is shown a record: its fields as they are, or in the words of Alpaca. */
const FORMATS = ['plain', 'alpaca'] as const;

const data = v.strictObject({
  train: text,
  eval: v.optional(text),
  id: v.optional(text),
  subject: v.optional(text),
  label: v.optional(text),
  text: v.optional(
    v.pipe(
      v.array(text),
      v.minLength(1, 'must name a field'),
      v.maxLength(3, 'must name at most three fields'),
      v.check((fields) => new Set(fields).size === fields.length, 'must not name a field twice'),
    ),
  ),
  maxLength: v.optional(count),
  buckets: v.optional(v.pipe(v.array(count), v.minLength(1, 'must name a length'))),
  format: v.optional(v.picklist(FORMATS, `must be one of ${FORMATS.join(', ')}`)),
  image: v.optional(text),
  labels: v.optional(
    v.pipe(
      v.array(text, 'must list the labels: they may not be learnt from the data'),
      // None is what a task without labels is stored with; a task that has them says that they are missing.
      v.check((labels) => labels.length !== 1, 'must hold at least two labels'),
      v.check((labels) => new Set(labels).size === labels.length, 'must not name a label twice'),
    ),
  ),
});

const lora = v.strictObject({
  rank: v.optional(count, 16),
  alpha: v.optional(positive, 16),
  rslora: v.optional(v.boolean(), true),
  dropout: v.optional(v.pipe(fraction, v.ltValue(1, 'must be less than 1')), 0.1),
  targets: v.optional(v.pipe(v.array(text), v.minLength(1, 'must name a layer')), () => ['query', 'value']),
});

const keep = v.strictObject({
  where: v.optional(v.picklist(['memory', 'disk'], 'must be memory or disk')),
  dtype: v.optional(v.picklist(['f32', 'f16'], 'must be f32 or f16')),
  bytes: v.optional(
    v.pipe(v.number(), v.integer('must be a whole number'), v.minValue(0, 'must be at least 0')),
  ),
});

const atLeastOne = v.pipe(v.number(), v.minValue(1, 'must be at least 1'));

const augmentation = v.strictObject({
  flip: v.optional(fraction, 0),
  randomResizedCrop: v.optional(
    v.strictObject({
      area: v.optional(
        v.pipe(
          v.tuple([v.pipe(fraction, v.gtValue(0, 'must be more than 0')), fraction]),
          v.check(([least, most]) => least <= most, 'must rise'),
        ),
        () => [0.08, 1] as [number, number],
      ),
      ratio: v.optional(atLeastOne, 4 / 3),
    }),
  ),
});

const earlyStopping = v.strictObject({
  patience: count,
  metric: v.optional(v.picklist(METRIC_NAMES, `must be one of ${METRIC_NAMES.join(', ')}`)),
});

const SCHEDULES = ['constant', 'linear', 'cosine'] as const;

const training = v.strictObject({
  epochs: v.optional(count, 3),
  batchSize: v.optional(count, 64),
  accumulation: v.optional(count),
  together: v.optional(count),
  learningRate: v.optional(positive, 2e-3),
  weightDecay: v.optional(v.pipe(v.number(), v.minValue(0, 'must be at least 0')), 0.01),
  schedule: v.optional(v.picklist(SCHEDULES, `must be one of ${SCHEDULES.join(', ')}`), 'linear'),
  warmup: v.optional(fraction, 0.03),
  clipNorm: v.optional(v.nullable(positive), null),
  learn: v.optional(v.picklist(['all', 'response'], 'must be all or response')),
  activations: v.optional(v.picklist(['f32', 'f16'], 'must be f32 or f16')),
  keep: v.optional(keep),
  augmentation: v.optional(augmentation),
  earlyStopping: v.optional(earlyStopping),
  seed: v.optional(
    v.pipe(v.number(), v.safeInteger('must be a whole number'), v.minValue(0, 'must be at least 0')),
    1,
  ),
});

const evaluation = v.strictObject({
  metric: v.optional(v.picklist(METRIC_NAMES, `must be one of ${METRIC_NAMES.join(', ')}`)),
});

const QUANTIZATION_NAMES = Object.keys(QUANTIZATIONS) as Quantization[];

/** Of whole numbers that name slices; which there are is known where the slices are. */
const slices = v.pipe(
  v.array(v.pipe(v.number(), v.integer('must be a whole number'), v.minValue(0, 'must be at least 0'))),
  v.minLength(1, 'must name a slice'),
  v.check((list) => new Set(list).size === list.length, 'must not name a slice twice'),
);
const partition = v.strictObject({ by: text, open: v.record(text, slices) });

/** When stages that erasures took away are trained again; names as in the planner. */
const REPAIR_POLICIES = ['at-once', 'batch', 'exhaustion', 'manual'] as const;

const repair = v.pipe(
  v.strictObject({
    policy: v.picklist(REPAIR_POLICIES, `must be one of ${REPAIR_POLICIES.join(', ')}`),
    count: v.optional(count),
    minutes: v.optional(positive),
  }),
  v.forward(
    v.check(
      ({ policy, count, minutes }) => policy !== 'batch' || count !== undefined || minutes !== undefined,
      'batch needs count (of erased records), minutes or both',
    ),
    ['policy'],
  ),
  v.forward(
    v.check(({ policy, count }) => policy === 'batch' || count === undefined, 'is only for batch'),
    ['count'],
  ),
  v.forward(
    v.check(({ policy, minutes }) => policy === 'batch' || minutes === undefined, 'is only for batch'),
    ['minutes'],
  ),
);

const schema = v.strictObject({
  base: text,
  quantization: v.optional(v.picklist(QUANTIZATION_NAMES, `must be one of ${QUANTIZATION_NAMES.join(', ')}`)),
  task: v.picklist(TASK_NAMES, `must be one of ${TASK_NAMES.join(', ')}`),
  data,
  shards: places,
  slices: places,
  layersPerSlice: v.optional(count),
  budget: v.optional(count, 1),
  sequences: v.optional(
    v.strictObject({
      strategy: v.optional(text, 'cyclic'),
      prior: v.optional(v.array(fraction)),
      lookahead: v.optional(count),
    }),
    () => ({ strategy: 'cyclic' }),
  ),
  lora: v.optional(lora, () => v.parse(lora, {})),
  training: v.optional(training, () => v.parse(training, {})),
  partition: v.optional(partition),
  repair: v.optional(repair, () => ({ policy: 'manual' as const })),
  ensemble: v.optional(v.picklist(ENSEMBLE_MODES, `must be one of ${ENSEMBLE_MODES.join(', ')}`)),
  evaluation: v.optional(evaluation),
  store: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^(file:|postgres(ql)?:\/\/)/, 'must be file:, file:<path> or postgres://...'),
      // It is not shown: it may hold a password.
      v.check(
        (store) => store.startsWith('file:') || URL.canParse(store),
        'is no URL; write / @ : # in a password as %2F %40 %3A %23',
      ),
    ),
    'file:',
  ),
});

/** How what enters the layers that stages train is kept, for the records of one shard at a time. */
export interface KeepConfig {
  /** Default: memory. On disk it lies in a nameless file of the run folder. No stage depends on it. */
  where?: 'memory' | 'disk';
  /** f16 halves it, and stages learn from the rounded values, kept or not: part of their setting. Default: that of activations. */
  dtype?: 'f32' | 'f16';
  /** What is more than so many bytes is computed again for each batch. No stage depends on it. Default: everything is kept. */
  bytes?: number;
}

export interface RepairConfig {
  policy: (typeof REPAIR_POLICIES)[number];
  count?: number;
  minutes?: number;
}

/** s3t.config.json with every default filled in. */
export interface RunConfig {
  /** Folder in Hugging Face layout or .gguf file, relative to the file, or hub id. */
  base: string;
  /** What the weights of the base's linear layers are kept in. Default: f32. */
  quantization?: Quantization;
  task: TaskName;
  data: {
    train: string;
    eval?: string;
    id?: string;
    /** Field that holds whom a record is about: all of a subject's records can be erased at once. */
    subject?: string;
    /** Field that holds the label: one of `labels`, or of a regression a number. */
    label?: string;
    /**
     * The field of a text, or the two of a pair. Of a language model: a text, or a prompt and its response; with the format
     * "alpaca" an instruction, perhaps its input, and the output.
     */
    text?: string[];
    /** Tokens of a text, or of a pair, special ones included: longer ones are cut. Default: 128, or what the base has positions for. */
    maxLength?: number;
    /** The lengths that texts are padded to, besides `maxLength`. Default: powers of two from 16 on. */
    buckets?: number[];
    /** How a language model is shown a record. Default: plain. */
    format?: (typeof FORMATS)[number];
    image?: string;
    /** In the order of the model's outputs; a regression and a language model have none. */
    labels: string[];
  };
  shards: number;
  slices: number;
  /** Layers of an adapter group. Default: all there are, divided by the slices. */
  layersPerSlice?: number;
  /** Sequences trained per shard. */
  budget: number;
  sequences: { strategy: string; prior?: number[]; lookahead?: number };
  lora: { rank: number; alpha: number; rslora: boolean; dropout: number; targets: string[] };
  training: {
    epochs: number;
    /** Records that are computed at once. */
    batchSize: number;
    /** Batches whose gradients make one step: that of the mean over all their records, or tokens. Default: 1. */
    accumulation?: number;
    /** Stages that are trained in one batch at most. No stage depends on it. Default: 1. */
    together?: number;
    learningRate: number;
    weightDecay: number;
    schedule: 'constant' | 'linear' | 'cosine';
    /** Part of the steps over which the rate rises, 0 to 1. */
    warmup: number;
    /** Gradients are scaled down to this norm; null leaves them. */
    clipNorm: number | null;
    /** Which tokens a language model learns. Default: all of a record's. */
    learn?: 'all' | 'response';
    /** What layers hand on is stored in, in training and answering alike; f16 halves what a step keeps. Default: f32. */
    activations?: 'f32' | 'f16';
    /** How pictures are varied from epoch to epoch; nothing is kept of the layers below then. Default: not at all. */
    augmentation?: {
      /** Probability of a mirror image. */
      flip: number;
      /** A random cut-out: the part of the area that it keeps, and its widest form as width over height. */
      randomResizedCrop?: { area: [least: number, most: number]; ratio: number };
    };
    /** What is kept of the layers below the one that is trained. */
    keep?: KeepConfig;
    /**
     * Ends a stage's training after `patience` epochs that were no better on `data.eval`, and keeps the best epoch's values. The evaluation data
     * is part of what the stages depend on then.
     */
    earlyStopping?: {
      patience: number;
      /** What is measured. Default: what answers are measured with. */
      metric?: MetricName;
    };
    seed: number;
  };
  /**
   * Records that are likely to be erased lie together: `by` names the field in which a record declares its risk, a class, and `open` the slices
   * of each class; a record of another class, or of none, may lie in any. Default: all records in all slices.
   */
  partition?: { by: string; open: Record<string, number[]> };
  /**
   * When stages that erasures took away are trained again without being asked: once `count` erased records wait, or the first of them
   * has waited for `minutes`. No stage depends on it, so it may change in the life of a run. Default: manual.
   */
  repair: RepairConfig;
  /** How the answers of the shards become one. Default: the mean of their logits. */
  ensemble?: EnsembleMode;
  evaluation?: {
    /** What answers are measured with. Default: accuracy; of a regression Pearson's correlation. */
    metric?: MetricName;
  };
  /** `file:`, `file:<path>` or `postgres://...` */
  store: string;
}

/** A configuration and the folder that its paths are relative to. */
export interface LocatedConfig {
  config: RunConfig;
  folder: string;
  file: string;
  /** What decodes its image files, where that is not the usual one. */
  decoder?: ImageDecoder | undefined;
}

/** Reads and checks a configuration file. @throws UnlearnerError `config` naming file and field */
export async function readConfig(file: string): Promise<LocatedConfig> {
  const path = resolve(file);
  let raw: string;
  try {
    raw = await readFile(path, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const problem = code === 'ENOENT' ? 'there is no such file' : `cannot be read (${code})`;
    throw new UnlearnerError('config', `${file}: ${problem}`, { cause });
  }
  let value: unknown;
  try {
    value = JSON.parse(raw);
  } catch (cause) {
    throw new UnlearnerError('config', `${file}: is not JSON: ${(cause as Error).message}`, { cause });
  }
  return { config: parseConfig(value, file), folder: dirname(path), file: path };
}

/** Checks a configuration. @throws UnlearnerError `config` naming file and field */
export function parseConfig(value: unknown, file: string): RunConfig {
  const result = v.safeParse(schema, value);
  if (result.success) {
    const { data: fields, ...rest } = result.output;
    return checkTask({ ...rest, data: { ...fields, labels: fields.labels ?? [] } }, file);
  }
  const issue = result.issues[0];
  const path = v.getDotPath(issue) ?? '(whole file)';
  throw new UnlearnerError('config', `${file}: ${path}: ${explain(issue, path, fieldsAt)}`);
}

/** The fields that may stand beside the one at `path`. */
function fieldsAt(path: string): string[] {
  const parents: Record<string, Record<string, unknown>> = {
    '': schema.entries,
    data: data.entries,
    lora: lora.entries,
    training: training.entries,
    'training.keep': keep.entries,
    partition: partition.entries,
    'training.augmentation': augmentation.entries,
    'training.earlyStopping': earlyStopping.entries,
    repair: { policy: 0, count: 0, minutes: 0 },
    evaluation: evaluation.entries,
    sequences: { strategy: 0, prior: 0, lookahead: 0 },
  };
  const parent = path.split('.').slice(0, -1).join('.');
  return Object.keys(parents[parent] ?? {});
}
