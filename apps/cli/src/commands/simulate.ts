import type { Command } from 'commander';
import { addDeletionRate } from '../simulate/deletion-rate.ts';
import { addDeletionTime } from '../simulate/deletion-time.ts';
import { addDiversity } from '../simulate/diversity.ts';
import { addRetention } from '../simulate/retention.ts';

/** `s3t simulate`: the paper's formulas beside what a simulation measures. */
export function addSimulate(program: Command): void {
  const simulate = program.command('simulate').description("the theory's numbers beside simulated ones");
  for (const add of [addDeletionRate, addRetention, addDeletionTime, addDiversity]) add(simulate);
}
