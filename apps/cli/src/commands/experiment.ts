import type { Command } from 'commander';
import { addFigures } from '../experiment/figures.ts';
import { addPaperRuns } from '../experiment/paper-runs.ts';

/** `s3t experiment`: the paper's runs, their baselines and figures. */
export function addExperiment(program: Command): void {
  const experiment = program
    .command('experiment')
    .description("the paper's runs with their baselines, and its figures; each goes on where it stopped");
  addPaperRuns(experiment);
  addFigures(experiment);
}
