import { greatestEditDistance, randomEditDistance, simulateDiversity } from '@s3t/algorithm';
import type { Command } from 'commander';
import { writePlot } from '../plot/plot-file.ts';
import { count } from '../terminal/format.ts';
import { print, printJson } from '../terminal/print.ts';
import { right, table } from '../terminal/table.ts';
import { addSimulation, budgetsUpTo, isPossible, type SimulateOptions } from './options.ts';

export function addDiversity(simulate: Command): void {
  addSimulation(simulate, 'diversity', 'in how many positions two sequences differ (Lemma 3)', []).action(
    run,
  );
}

async function run({ json, plot, ...options }: SimulateOptions): Promise<void> {
  const { slices, budget, strategy, prior, seed } = options;
  const simulated = simulateDiversity(options);
  const theory = greatestEditDistance(options);
  const random = budget === 1 ? 0 : randomEditDistance(slices);
  if (plot) await draw(plot, options);
  if (json) {
    printJson({ slices, budget, strategy, seed, prior, theory, random, simulated });
    return;
  }
  const error = simulated.std / Math.sqrt(simulated.trials);
  const columns = [
    { title: 'strategy' },
    ...['slices', 'budget', 'greatest', 'random', 'simulated', '±'].map(right),
  ];
  const decimals = [theory, random, simulated.mean, error].map((value) => value.toFixed(4));
  print('Mean number of positions in which two sequences differ');
  print(table(columns, [[strategy, String(slices), String(budget), ...decimals]]));
  print(
    `\n${count(simulated.trials)} seeds; greatest: the bound of Lemma 3; random: expected of orders drawn uniformly; ± is the standard error.`,
  );
}

async function draw(file: string, options: Omit<SimulateOptions, 'json' | 'plot'>): Promise<void> {
  const budgets = budgetsUpTo(options.budget).filter((budget) => budget > 1 || options.budget === 1);
  await writePlot(file, {
    title: 'Diversity',
    x: 'budget B',
    y: `positions of ${options.slices} in which two sequences differ`,
    lines: [
      {
        name: 'greatest possible (Lemma 3)',
        points: budgets.map((budget) => [budget, greatestEditDistance({ ...options, budget })]),
      },
      {
        name: `simulated, ${options.strategy}`,
        dots: true,
        points: budgets
          .filter((budget) => isPossible({ ...options, budget }))
          .map((budget) => [budget, simulateDiversity({ ...options, budget }).mean]),
      },
    ],
  });
}
