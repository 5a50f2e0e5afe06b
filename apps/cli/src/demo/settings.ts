/** Everything there is to tune in the demo, in one place. */
import { resolve } from 'node:path';
import type { RunConfig } from '@s3t/unlearner';
import type { Pace } from './traffic.ts';

/** The fields the demo sets; the others keep their defaults. */
type DemoConfig = Omit<RunConfig, 'store' | 'repair' | 'training'> & {
  training: Omit<RunConfig['training'], 'clipNorm'>;
};

/** The checkout: the demo's paths hang on it, wherever it is started. */
export const ROOT: string = resolve(import.meta.dirname, '../../../..');

/** Where the run, its data, its configuration and the report go. */
export const FOLDER: string = resolve(ROOT, 'runs/demo');

export const LABELS: string[] = [...'0123456789'];

/** Digits to measure with; they are taken from those not trained on. */
export const EVALUATION_DIGITS = 1000;

/** Records that each of the three erasures takes away. */
export const RECORDS_PER_ERASURE = 5;

/** s3t.config.json of the run; its base is relative to the checkout here, and to the file there. */
export const CONFIG: DemoConfig = {
  base: 'assets/vit-tiny',
  task: 'image-classification',
  data: { train: 'data', eval: 'data', labels: LABELS },
  shards: 3,
  slices: 4,
  budget: 2,
  sequences: { strategy: 'cyclic' },
  lora: { rank: 16, alpha: 16, rslora: true, dropout: 0, targets: ['query', 'value'] },
  training: {
    epochs: 3,
    batchSize: 64,
    learningRate: 4e-3,
    weightDecay: 0.01,
    schedule: 'linear',
    warmup: 0.03,
    seed: 1,
  },
};

/** Who asks the server, and how fast, while records are erased: as fast as it answers. */
export const BUSY: Pace = { clients: 4, digitsPerRequest: 4, pauseMs: 0 };

/** And while it repairs: enough to catch a wrong answer, little enough to leave the processor to the training. */
export const GENTLE: Pace = { clients: 1, digitsPerRequest: 2, pauseMs: 1000 };

/** Answers are collected this long before, between and after the erasures. */
export const SECONDS_BETWEEN = 1.5;
