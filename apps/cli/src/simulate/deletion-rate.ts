import { deletionRate, deletionRateUnderPrior, selectSequences, simulateDeletionRate } from '@s3t/algorithm';
import type { Command } from 'commander';
import { writePlot } from '../plot/plot-file.ts';
import { count } from '../terminal/format.ts';
import { print, printJson } from '../terminal/print.ts';
import { right, table } from '../terminal/table.ts';
import { addSimulation, budgetsUpTo, isPossible, type SimulateOptions, shards } from './options.ts';

type Options = SimulateOptions & { shards: number };

export function addDeletionRate(simulate: Command): void {
  addSimulation(simulate, 'deletion-rate', 'random erasures until no shard serves anything (Lemma 1)', [
    shards(),
  ]).action(run);
}

async function run({ json, plot, ...options }: Options): Promise<void> {
  const { shards, slices, budget, strategy, prior, seed } = options;
  const simulated = simulateDeletionRate(options);
  const theory = expected(options);
  if (plot) await draw(plot, options);
  if (json) {
    printJson({ shards, slices, budget, strategy, seed, prior, theory, simulated });
    return;
  }
  const error = simulated.std / Math.sqrt(simulated.trials);
  const columns = [
    { title: 'strategy' },
    ...['shards', 'slices', 'budget', 'theory', 'simulated', '±', 'std'].map(right),
  ];
  const numbers = [shards, slices, budget].map(String);
  const decimals = [theory, simulated.mean, error, simulated.std].map((value) => value.toFixed(2));
  print('Erasures until no shard serves anything');
  print(table(columns, [[strategy, ...numbers, ...decimals]]));
  print(
    `\n${count(simulated.trials)} trials; ± is the standard error of the mean, std the spread of one trial.`,
  );
}

/** Lemma 1, or its form for slices that are not alike. */
function expected(options: Omit<Options, 'json' | 'plot'>): number {
  const { shards, prior, strategy } = options;
  // Those that are drawn may be alike.
  const firsts = [...new Set(selectSequences(strategy, options).map(([first]) => first!))];
  return prior
    ? deletionRateUnderPrior({ shards, prior, firsts })
    : deletionRate({ ...options, budget: firsts.length });
}

async function draw(file: string, options: Omit<Options, 'json' | 'plot'>): Promise<void> {
  const budgets = budgetsUpTo(options.budget).filter((budget) => isPossible({ ...options, budget }));
  await writePlot(file, {
    title: 'Deletion rate',
    x: 'budget B',
    y: `erasures until nothing is served, m = ${options.shards}, L = ${options.slices}`,
    lines: [
      {
        name: 'theory (Lemma 1)',
        points: budgets.map((budget) => [budget, expected({ ...options, budget })]),
      },
      {
        name: `simulated, ${options.strategy}`,
        dots: true,
        points: budgets.map((budget) => [budget, simulateDeletionRate({ ...options, budget }).mean]),
      },
    ],
  });
}
