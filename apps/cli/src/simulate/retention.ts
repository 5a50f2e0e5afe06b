import { retention, simulateRetention } from '@s3t/algorithm';
import { type Command, Option } from 'commander';
import { UsageError } from '../errors.ts';
import { integer } from '../options.ts';
import { writePlot } from '../plot/plot-file.ts';
import { count } from '../terminal/format.ts';
import { print, printJson } from '../terminal/print.ts';
import { right, table } from '../terminal/table.ts';
import { addSimulation, countsUpTo, priorNote, type SimulateOptions } from './options.ts';

type Options = SimulateOptions & { depth: number; deletions: number };

export function addRetention(simulate: Command): void {
  addSimulation(simulate, 'retention', 'whether a shard still serves so many slices (Lemma 2)', [
    new Option('--depth <k>', 'slices it should still serve').argParser(integer(0)).default(1),
    new Option('--deletions <r>', 'erasures that hit the shard').argParser(integer(0)).default(4),
  ]).action(run);
}

async function run({ json, plot, ...options }: Options): Promise<void> {
  const { slices, budget, strategy, prior, depth, deletions, seed } = options;
  if (depth > slices) {
    throw new UsageError(
      `--depth: ${depth} is more than the ${slices} slices; the nearest valid value is ${slices}`,
    );
  }
  const simulated = simulateRetention(options);
  const theory = retention(options);
  const sisa = retention({ ...options, budget: 1 });
  if (plot) await draw(plot, options);
  if (json) {
    printJson({ slices, budget, strategy, seed, prior, depth, deletions, theory, sisa, simulated });
    return;
  }
  const columns = [
    { title: 'strategy' },
    ...['slices', 'budget', 'depth', 'erasures', 'SISA', 'theory', 'simulated', '±'].map(right),
  ];
  const numbers = [slices, budget, depth, deletions].map(String);
  const decimals = [sisa, theory, simulated.probability, simulated.error].map((value) => value.toFixed(4));
  print(`Probability that a shard still serves ${depth} of its ${slices} slices`);
  print(table(columns, [[strategy, ...numbers, ...decimals]]));
  print(
    `\n${count(simulated.trials)} trials; ± is the standard error. The theory is exact for a budget of 1, and else takes sequences as hit ` +
      `independently, which they are not${priorNote(prior)}.`,
  );
}

async function draw(file: string, options: Omit<Options, 'json' | 'plot'>): Promise<void> {
  const erasures = countsUpTo(options.deletions);
  await writePlot(file, {
    title: 'Retention',
    x: 'erasures that hit the shard',
    y: `probability of at least ${options.depth} of ${options.slices} slices`,
    lines: [
      {
        name: 'SISA',
        points: erasures.map((deletions) => [deletions, retention({ ...options, budget: 1, deletions })]),
      },
      {
        name: `theory (Lemma 2), B = ${options.budget}`,
        points: erasures.map((deletions) => [deletions, retention({ ...options, deletions })]),
      },
      {
        name: `simulated, ${options.strategy}`,
        dots: true,
        points: erasures.map((deletions) => [
          deletions,
          simulateRetention({ ...options, deletions }).probability,
        ]),
      },
    ],
  });
}
