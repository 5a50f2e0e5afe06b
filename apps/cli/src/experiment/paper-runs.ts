import { join, resolve } from 'node:path';
import type { Changes, ExperimentName, ExperimentOptions, PreparationOptions } from '@s3t/laboratory';
import type { Command } from 'commander';
import { UsageError } from '../errors.ts';
import { catchInterrupts } from '../interrupt.ts';
import { integer, integers, JSON_OUTPUT, type JsonOption, number } from '../options.ts';
import { writePlot } from '../plot/plot-file.ts';
import { STRATEGIES } from '../simulate/options.ts';
import { print, printJson } from '../terminal/print.ts';
import { Progress } from '../terminal/progress.ts';
import { STOP_NOTE } from '../work.ts';
import { WorkProgress } from '../work-progress.ts';
import { performanceChart, renderExperiment, renderSchedules } from './render.ts';

interface Options extends JsonOption {
  dataset: string;
  data?: string;
  out?: string;
  model?: string;
  shards?: number;
  numSlices?: number;
  layersPerSlice?: number;
  budget?: number;
  strategy?: string;
  loraRank?: number;
  loraDropout?: number;
  learningRate?: number;
  epochs?: number;
  batchSize?: number;
  seed?: number;
  records?: number;
  evalRecords?: number;
  budgets?: number[];
  streams: number;
  retrainAfter?: number[];
  full: boolean;
  run: boolean;
  schedules?: number;
  smoke?: boolean;
  printConfig?: boolean;
}

/** Name, script of the public code, what its data sets are, and the first of them. */
const RUNS: readonly [ExperimentName, string, string, string][] = [
  ['glue', 'run_base', 'cola, sst2, mrpc, stsb, qqp, mnli, qnli or rte', 'sst2'],
  ['superglue', 'run_base', 'boolq, cb, copa, multirc, wic or wsc', 'boolq'],
  ['vit', 'run_vit', 'mnist, fashion-mnist, cifar10, cifar100 or tinyimagenet', 'cifar10'],
  ['llm', 'run_llm', 'alpaca', 'alpaca'],
  ['full-budget', 'run_fullbudget', 'cifar100, cifar10, mnist, fashion-mnist or tinyimagenet', 'cifar100'],
];

/** `s3t experiment vit` and its like: one command for each script of the public code, with its options. */
export function addPaperRuns(experiment: Command): void {
  for (const [name, script, datasets, first] of RUNS)
    experiment
      .command(name)
      .description(`${script}: train, and compare with the baselines as records are deleted`)
      .option('--dataset <name>', datasets, first)
      .option('--data <dir|id>', 'the data set: a folder as it is published, or its hub id')
      .option('--model <dir|id>', "the base: a folder or hub id (default: the paper's)")
      .option('--out <dir>', 'where everything goes (default: runs/experiments/<name>-<dataset>)')
      .option('--num-slices <L>', 'slices of a shard', integer(1))
      .option('--layers-per-slice <g>', 'layers of an adapter group (default: all there are)', integer(1))
      .option('--shards <m>', 'shards', integer(1))
      .option('--budget <B>', 'sequences per shard', integer(1))
      .option('--strategy <name>', `how sequences are chosen: ${STRATEGIES}`)
      .option('--lora-rank <r>', 'rank of the adapters; alpha keeps its ratio to it', integer(1))
      .option('--lora-dropout <p>', 'dropout before the adapters', number(0, 1))
      .option('--learning-rate <x>', 'highest learning rate', number(0))
      .option('--epochs <n>', 'passes over the data of a stage', integer(1))
      .option('--batch-size <n>', 'records of a step', integer(1))
      .option('--seed <n>', 'seed of partition, training and streams', integer(0))
      .option('--records <n>', 'train on the first n records only', integer(1))
      .option('--eval-records <n>', 'measure on this many records only', integer(1))
      .option('--budgets <list>', 'budgets to show beside SISA, of those trained: 2,4', integers)
      .option('--streams <n>', 'random deletion streams', integer(1), 20)
      .option('--retrain-after <list>', 'retrain fully after as many deletions, too: 50,100', integers)
      .option('--no-full', 'leave the baselines out that train all layers at once')
      .option(
        '--schedules <n>',
        "compare with the public code's schedule on n shards (default: not)",
        integer(1),
      )
      .option('--no-run', 'only compare schedules')
      .option('--smoke', 'a size of minutes: small base, few records')
      .option('--print-config', 'only print what would be trained, as JSON: nothing is fetched or written')
      .option(...JSON_OUTPUT)
      .addHelpText('after', `\n${scriptHelp(script)}`)
      .action((options: Options) =>
        options.printConfig ? printPlanned(name, options) : runPaper(name, options),
      );
}

/** The arguments of the public scripts, in their order, and what they are here. */
const SCRIPT_ARGUMENTS: Record<string, string> = {
  run_base:
    'dataset_name: --dataset, benchmark: glue or superglue, lora_rank: --lora-rank, learning_rate: --learning-rate, epochs: --epochs, save_steps: none (every stage is kept), num_slices: --num-slices',
  run_vit: 'start_id: none, num_slices: --num-slices, model: --model, dataset: --dataset',
  run_llm:
    'start_id: none, num_slices: --num-slices, num_loras: --layers-per-slice, lora_rank: --lora-rank, model: --model',
  run_fullbudget: 'all 24 orders of 4 slices: --num-slices and --budget',
};

function scriptHelp(script: string): string {
  const parts = ['GPU_ID: none (the adapter of this machine)', SCRIPT_ARGUMENTS[script]]
    .join(', ')
    .split(', ');
  return [
    `Arguments of ${script}, and what they are here:`,
    ...parts.map((part) => `  ${part}`),
    'It goes on where it stopped, so that no stage to start from is given.',
  ].join('\n');
}

async function printPlanned(experiment: ExperimentName, o: Options): Promise<void> {
  const { planExperiment } = await import('@s3t/laboratory');
  const { dataset, data, smoke } = o;
  const planned = planExperiment({ experiment, dataset, smoke, changes: changesOf(o) });
  printJson({ experiment, dataset, data: data ?? null, ...planned });
}

async function runPaper(experiment: ExperimentName, o: Options): Promise<void> {
  if (!o.run && o.schedules === undefined)
    throw new UsageError('--no-run: then nothing is left to do; give --schedules, for example --schedules 1');
  // Only here: it brings the engine and the database, which `s3t --help` can do without.
  const { prepareExperiment, runExperiment } = await import('@s3t/laboratory');
  const out = resolve(
    o.out ?? join('runs/experiments', `${experiment}-${o.dataset}${o.smoke ? '-smoke' : ''}`),
  );
  using interrupts = catchInterrupts(STOP_NOTE);
  const progress = new Progress();
  const config = await prepareExperiment({
    ...preparation(experiment, out, o),
    onDownload: ({ file, bytes, total }) =>
      progress.update({ label: 'download', done: bytes, total, note: file }),
  }).finally(() => progress.clear());
  const work = new WorkProgress('train', progress);
  const steps = (label: string, done: number, total: number): void => progress.update({ label, done, total });
  const options: ExperimentOptions = {
    ...{ config, out, streams: o.streams, full: o.full, retrainAfter: o.retrainAfter, seed: o.seed },
    budgets: o.budgets && [1, ...o.budgets],
    signal: interrupts.signal,
    onEvent: work.show,
    onStep: steps,
  };
  try {
    const result = o.run ? await runExperiment(options) : null;
    const schedules =
      o.schedules === undefined ? null : await compare(config, out, o.schedules, interrupts.signal, steps);
    progress.clear();
    const title = `${experiment} ${o.dataset}${o.smoke ? ' (smoke)' : ''}`;
    if (result)
      for (const kind of ['svg', 'png'])
        await writePlot(join(out, `performance.${kind}`), performanceChart(title, result));
    if (o.json) printJson({ out, ...result, schedules });
    else
      print(
        [
          ...(result ? [renderExperiment(title, result)] : []),
          ...(schedules ? [renderSchedules(schedules)] : []),
        ].join('\n\n'),
      );
  } catch (error) {
    interrupts.rethrow(
      error,
      `stopped: what is trained is kept in ${out}; the same command goes on from there`,
    );
  } finally {
    progress.clear();
  }
}

async function compare(
  config: string,
  out: string,
  shards: number,
  signal: AbortSignal,
  steps: (label: string, done: number, total: number) => void,
) {
  const { compareSchedules } = await import('@s3t/laboratory');
  const { Device } = await import('@s3t/engine');
  const device = await Device.open();
  try {
    return await compareSchedules({
      ...{ config, out, device, shards, signal },
      onStage: (_, done, total) => steps('both schedules', done, total),
    });
  } finally {
    device.close();
  }
}

function preparation(experiment: ExperimentName, out: string, o: Options): PreparationOptions {
  const { dataset, data, records, evalRecords, smoke } = o;
  return { experiment, dataset, out, data, records, evalRecords, smoke, changes: changesOf(o) };
}

function changesOf(o: Options): Changes {
  return {
    ...{ base: o.model, shards: o.shards, slices: o.numSlices, layersPerSlice: o.layersPerSlice },
    ...{ budget: o.budget, strategy: o.strategy, rank: o.loraRank, dropout: o.loraDropout },
    ...{ epochs: o.epochs, batchSize: o.batchSize, learningRate: o.learningRate, seed: o.seed },
  };
}
