// run_base and run_llm: texts.

import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { readRows } from '@s3t/data';
import { LaboratoryError } from './errors.ts';
import type { PreparedData, PrepareOptions, Recipe, Shape } from './recipe.ts';
import { smokeData } from './smoke.ts';
import { type TaskRow, TEXT_TASKS, type TextTask } from './text-tasks.ts';
import { asLines } from './vision.ts';

/** RoBERTa-large: 14 of its 24 layers, 2 for each of 7 slices. Batch size is not in the public script: 32. It stops on the validation metric; the patience is ours: 3. */
const ROBERTA: Shape = {
  shards: 5,
  slices: 7,
  layersPerSlice: 2,
  budget: 7,
  sequences: { strategy: 'cyclic' },
  lora: { rank: 16, alpha: 32, rslora: true, dropout: 0.01, targets: ['query', 'value'] },
  training: {
    ...{ epochs: 30, batchSize: 32, learningRate: 1e-4, weightDecay: 0.01, warmup: 0 },
    earlyStopping: { patience: 3 },
  },
};

/** Llama-2-7B and Llama-3-8B: 8 layers for each of 4 slices (13B has 40 layers: give 5). Batch size is not in the public script: 4. */
const LLAMA: Shape = {
  shards: 5,
  slices: 4,
  budget: 4,
  sequences: { strategy: 'cyclic' },
  quantization: 'int8',
  lora: {
    ...{ rank: 32, alpha: 64, rslora: true, dropout: 0.05 },
    targets: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'up_proj', 'down_proj', 'gate_proj'],
  },
  training: {
    ...{ epochs: 3, batchSize: 4, learningRate: 2e-5, weightDecay: 0.001, clipNorm: 0.3 },
    ...{ warmup: 0.03, schedule: 'linear' },
  },
};

export const TEXTS: readonly Recipe[] = [
  ...TEXT_TASKS.map(
    (task): Recipe => ({
      ...{
        experiment: task.benchmark,
        dataset: task.name,
        title: task.name,
        hub: { id: task.hub, folder: task.name },
        shape: ROBERTA,
      },
      task: task.labels.length === 0 ? 'text-regression' : 'text-classification',
      base: 'FacebookAI/roberta-large',
      prepare: (options) => prepareTask(task, options),
    }),
  ),
  {
    ...{ experiment: 'llm', dataset: 'alpaca', title: 'Alpaca', task: 'causal-lm', shape: LLAMA },
    ...{ base: 'meta-llama/Llama-2-7b-hf', hub: { id: 'tatsu-lab/alpaca', folder: 'data' } },
    prepare: prepareAlpaca,
  },
];

/** A row of the data with its number in the split. */
interface Numbered {
  row: TaskRow;
  file: string;
  number: number;
}

async function prepareTask(task: TextTask, o: PrepareOptions): Promise<PreparedData> {
  const source = o.source ?? (o.smoke ? smokeData(task.benchmark, task.name) : missing(task.name, task.hub));
  const fields = task.texts === 1 ? ['text'] : ['text', 'pair'];
  const separator = task.isJoined ? await o.separator() : '';
  const convert = (rows: readonly Numbered[]) =>
    rows.flatMap(({ row, file, number }) => {
      try {
        return task.examples(row, separator).map(({ part, texts, label }) => ({
          id: `${task.name}/${number}${part === undefined ? '' : `/${part}`}`,
          ...Object.fromEntries(texts.map((text, i) => [fields[i]!, text])),
          label: task.labels[label] ?? label,
        }));
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
        throw new LaboratoryError('data', `${file}: row ${number}: ${error.message}`);
      }
    });
  const train = convert(await rowsOf(source, task.name, 'train'));
  const evaluation = convert(await rowsOf(source, task.name, 'eval'));
  await writeSplits(o, train, evaluation);
  return {
    data: {
      ...{ train: 'data/train.jsonl', eval: 'data/eval.jsonl', id: 'id', label: 'label', text: fields },
      ...(task.labels.length > 0 && { labels: [...task.labels] }),
      ...(o.smoke && { maxLength: 20 }),
    },
    evaluation: { metric: task.metric },
  };
}

/** Alpaca has no split to measure with: every twentieth record is held out. */
async function prepareAlpaca(o: PrepareOptions): Promise<PreparedData> {
  const source = o.source ?? (o.smoke ? smokeData('llm', 'alpaca') : missing('alpaca', 'tatsu-lab/alpaca'));
  const rows = (await rowsOf(source, 'alpaca', 'train')).map(({ row, file, number }) => {
    const own = {
      id: `alpaca/${number}`,
      ...{ instruction: row.get('instruction'), input: row.get('input') ?? '', output: row.get('output') },
    };
    if (typeof own.instruction !== 'string' || typeof own.output !== 'string')
      throw new LaboratoryError('data', `${file}: row ${number}: instruction and output must be texts`);
    return own;
  });
  const isHeldOut = (_: unknown, i: number): boolean => i % 20 === 19;
  await writeSplits(
    o,
    rows.filter((row, i) => !isHeldOut(row, i)),
    rows.filter(isHeldOut),
  );
  return {
    data: {
      ...{ train: 'data/train.jsonl', eval: 'data/eval.jsonl', id: 'id', format: 'alpaca' },
      ...{ text: ['instruction', 'input', 'output'], maxLength: o.smoke ? 96 : 512 },
    },
  };
}

async function writeSplits(
  { out, records, evalRecords }: PrepareOptions,
  train: readonly object[],
  evaluation: readonly object[],
): Promise<void> {
  refuseMore('--records', records, train.length);
  refuseMore('--eval-records', evalRecords, evaluation.length);
  await mkdir(join(out, 'data'), { recursive: true });
  await writeFile(join(out, 'data/train.jsonl'), asLines(train.slice(0, records)));
  await writeFile(join(out, 'data/eval.jsonl'), asLines(evaluation.slice(0, evalRecords)));
}

function refuseMore(option: string, asked: number | undefined, there: number): void {
  if (asked === undefined || asked <= there) return;
  throw new LaboratoryError(
    'usage',
    `${option}: there are ${there} records; the nearest valid value is ${there}`,
  );
}

function missing(name: string, hub: string): never {
  throw new LaboratoryError(
    'usage',
    `--data: ${name} does not come with S3T: give its folder, or ${hub} to fetch it from the hub`,
  );
}

const SPLITS = {
  train: /^(train|alpaca.*)$/,
  eval: /^(validation_matched|validation|dev_matched|dev|val)$/,
};

/**
 * The rows of a split of a task: from files in `source`, or in its folder for the task, named train or validation (val, dev), perhaps with the
 * number of a part behind (`train-00000-of-00001.parquet`).
 */
async function rowsOf(source: string, task: string, split: 'train' | 'eval'): Promise<Numbered[]> {
  for (const folder of [join(source, task), source, join(source, 'data')]) {
    const names = await readdir(folder).catch(() => []);
    const own = names.filter((name) => {
      const kind = basename(name, extname(name)).replace(/-\d+-of-\d+.*$/, '');
      return /^\.(jsonl|json|tsv|csv|parquet)$/.test(extname(name)) && SPLITS[split].test(kind);
    });
    if (own.length === 0) continue;
    const rows: Numbered[] = [];
    for (const name of own.sort()) {
      const file = join(folder, name);
      for (const row of await readRows(file)) rows.push({ row, file, number: rows.length });
    }
    return rows;
  }
  throw new LaboratoryError(
    'data',
    `${source}: holds no ${split === 'train' ? 'train' : 'validation'} file of ${task} (.jsonl, .json, .tsv, .csv or .parquet)`,
  );
}
