import { deletionTime, simulateRetrainings } from '@s3t/algorithm';
import { type Command, Option } from 'commander';
import { integer, number } from '../options.ts';
import { writePlot } from '../plot/plot-file.ts';
import { count, duration } from '../terminal/format.ts';
import { print, printJson } from '../terminal/print.ts';
import { right, table } from '../terminal/table.ts';
import { addSimulation, countsUpTo, priorNote, type SimulateOptions, shards } from './options.ts';

type Options = SimulateOptions & {
  shards: number;
  deletions: number;
  retrainSeconds: number;
  deactivateSeconds: number;
};

export function addDeletionTime(simulate: Command): void {
  addSimulation(
    simulate,
    'deletion-time',
    'what many erasures cost when only an exhausted system is retrained',
    [
      shards(),
      new Option('--deletions <R>', 'erasures, one request each').argParser(integer(0)).default(1000),
      new Option('--retrain-seconds <s>', 'what a full training takes').argParser(number(0)).default(3600),
      new Option('--deactivate-seconds <s>', 'what an erasure takes').argParser(number(0)).default(0.05),
    ],
  ).action(run);
}

async function run({ json, plot, ...options }: Options): Promise<void> {
  const { shards, slices, budget, strategy, prior, seed, deletions, retrainSeconds, deactivateSeconds } =
    options;
  const simulated = simulate(options);
  const theory = deletionTime(options);
  const sisa = deletionTime({ ...options, budget: 1 });
  const retraining = deletions * retrainSeconds;
  if (plot) await draw(plot, options);
  if (json) {
    const shape = { shards, slices, budget, strategy, seed, prior };
    printJson({
      ...shape,
      deletions,
      retrainSeconds,
      deactivateSeconds,
      theory,
      sisa,
      retraining,
      simulated,
    });
    return;
  }
  const times = (seconds: number): string => (theory > 0 ? `${(seconds / theory).toFixed(2)} x` : '');
  print(
    `Time for ${count(deletions)} erasures: ${shards} shards, ${slices} slices, budget ${budget}, ${strategy}`,
  );
  print(
    table(
      [{ title: '' }, ...['time', 'against theory'].map(right)],
      [
        ['theory', duration(theory), ''],
        ['simulated', duration(simulated.mean), times(simulated.mean)],
        ['SISA (budget 1)', duration(sisa), times(sisa)],
        ['retraining each time', duration(retraining), times(retraining)],
      ],
    ),
  );
  const error = simulated.std / Math.sqrt(simulated.trials);
  print(
    `\n${count(simulated.trials)} trials, standard error ${duration(error)}; a full training takes ${duration(retrainSeconds)}${priorNote(prior)}.`,
  );
}

function simulate(options: Omit<Options, 'json' | 'plot'>): { mean: number; std: number; trials: number } {
  const { mean, std, trials } = simulateRetrainings(options);
  const { deletions, retrainSeconds, deactivateSeconds } = options;
  return {
    mean: mean * retrainSeconds + deletions * deactivateSeconds,
    std: std * retrainSeconds,
    trials,
  };
}

async function draw(file: string, options: Omit<Options, 'json' | 'plot'>): Promise<void> {
  const hours = (seconds: number): number => seconds / 3600;
  const erasures = countsUpTo(options.deletions);
  await writePlot(file, {
    title: 'Time to erase',
    x: 'erasures',
    y: `hours, m = ${options.shards}, L = ${options.slices}`,
    lines: [
      {
        name: 'SISA',
        points: erasures.map((deletions) => [
          deletions,
          hours(deletionTime({ ...options, budget: 1, deletions })),
        ]),
      },
      {
        name: `theory, B = ${options.budget}`,
        points: erasures.map((deletions) => [deletions, hours(deletionTime({ ...options, deletions }))]),
      },
      {
        name: `simulated, ${options.strategy}`,
        dots: true,
        points: erasures.map((deletions) => [deletions, hours(simulate({ ...options, deletions }).mean)]),
      },
    ],
  });
}
