import { deletionRate, sequenceStrategies, simulateDeletionRate } from '@s3t/algorithm';
import type { Command } from 'commander';
import { integer, JSON_OUTPUT, type JsonOption } from '../options.ts';
import { count } from '../terminal/format.ts';
import { print, printJson } from '../terminal/print.ts';
import { table } from '../terminal/table.ts';

interface Options extends JsonOption {
  shards: number;
  slices: number;
  budget: number;
  strategy: string;
  trials: number;
  seed: number;
}

/** `s3t simulate`: the paper's formulas beside what a simulation measures. */
export function addSimulate(program: Command): void {
  const simulate = program.command('simulate').description("the theory's numbers beside simulated ones");
  simulate
    .command('deletion-rate')
    .description('random erasures until no shard serves anything (Lemma 1)')
    .option('--shards <m>', 'shards', integer(1), 5)
    .option('--slices <L>', 'slices of a shard', integer(1), 4)
    .option('--budget <B>', 'sequences per shard', integer(1), 4)
    .option(
      '--strategy <name>',
      `how sequences are chosen: ${[...sequenceStrategies.keys()].join(', ')}`,
      'cyclic',
    )
    .option('--trials <n>', 'simulated runs', integer(1, 2 ** 32), 10_000)
    .option('--seed <n>', 'seed of the simulation', integer(0), 1)
    .option(...JSON_OUTPUT)
    .action(simulateDeletions);
}

function simulateDeletions({ json, ...options }: Options): void {
  const { shards, slices, budget, strategy } = options;
  const simulated = simulateDeletionRate(options);
  const theory = deletionRate(options);
  if (json) {
    printJson({ shards, slices, budget, strategy, seed: options.seed, theory, simulated });
    return;
  }
  const error = simulated.std / Math.sqrt(simulated.trials);
  const columns = [
    { title: 'strategy' },
    ...['shards', 'slices', 'budget', 'theory', 'simulated', '±', 'std'].map((title) => ({
      title,
      align: 'right' as const,
    })),
  ];
  const numbers = [shards, slices, budget].map(String);
  const decimals = [theory, simulated.mean, error, simulated.std].map((value) => value.toFixed(2));
  print('Erasures until no shard serves anything');
  print(table(columns, [[strategy, ...numbers, ...decimals]]));
  print(
    `\n${count(simulated.trials)} trials; ± is the standard error of the mean, std the spread of one trial.`,
  );
}
