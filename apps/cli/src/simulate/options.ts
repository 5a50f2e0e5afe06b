import { SequenceError, selectSequences, sequenceStrategies } from '@s3t/algorithm';
import { type Command, Option } from 'commander';
import { integer, JSON_OUTPUT, type JsonOption, PRIOR } from '../options.ts';
import { PLOT, type PlotOption } from '../plot/plot-file.ts';

/** What every simulation takes. */
export interface SimulateOptions extends JsonOption, PlotOption {
  slices: number;
  budget: number;
  strategy: string;
  prior?: number[];
  trials: number;
  seed: number;
}

export const STRATEGIES: string = [...sequenceStrategies.keys()].join(', ');

/** Adds a simulation with the options that all of them have; its own come before the output's. */
export function addSimulation(
  simulate: Command,
  name: string,
  description: string,
  own: readonly Option[],
): Command {
  const command = simulate.command(name).description(description);
  for (const option of own) command.addOption(option);
  return command
    .option('--slices <L>', 'slices of a shard', integer(1), 4)
    .option('--budget <B>', 'sequences per shard', integer(1), 4)
    .option('--strategy <name>', `how sequences are chosen: ${STRATEGIES}`, 'cyclic')
    .option(...PRIOR)
    .option('--trials <n>', 'simulated runs', integer(1, 2 ** 32), 10_000)
    .option('--seed <n>', 'seed of the simulation', integer(0), 1)
    .option(...PLOT)
    .option(...JSON_OUTPUT);
}

export function shards(): Option {
  return new Option('--shards <m>', 'shards').argParser(integer(1)).default(5);
}

/** Budgets to draw: powers of two below `budget`, and itself. */
export function budgetsUpTo(budget: number): number[] {
  const budgets: number[] = [];
  for (let power = 1; power < budget; power *= 2) budgets.push(power);
  return [...budgets, budget];
}

/** Whether a strategy chooses so many sequences: one that takes all orders takes no fewer. */
export function isPossible({
  strategy,
  ...options
}: Pick<SimulateOptions, 'strategy' | 'slices' | 'budget' | 'prior'>): boolean {
  try {
    return selectSequences(strategy, options).length === options.budget;
  } catch (error) {
    if (error instanceof SequenceError) return false;
    throw error;
  }
}

/** Whole numbers to draw, from 0 to `last`: all of them, or some thirty. */
export function countsUpTo(last: number): number[] {
  const parts = Math.min(last, 30);
  if (parts === 0) return [0];
  return Array.from({ length: parts + 1 }, (_, i) => Math.round((i * last) / parts));
}

/** Formulas that hold for a uniform prior say so when they stand beside another. */
export function priorNote(prior: readonly number[] | undefined): string {
  return prior ? '; the theory is for slices that are all alike' : '';
}
