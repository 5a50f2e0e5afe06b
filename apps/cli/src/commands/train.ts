import type { Command } from 'commander';
import { catchInterrupts } from '../interrupt.ts';
import { JSON_OUTPUT, RUN, type RunOptions } from '../options.ts';
import { withRun } from '../run-access.ts';
import { printWork, STOP_NOTE, trainMissing } from '../work.ts';

interface Options extends RunOptions {
  config: string;
  resume?: boolean;
}

/** `s3t train`: makes a run, or goes on with one, until no stage is missing. */
export function addTrain(program: Command): void {
  program
    .command('train')
    .description('train every stage that the configuration wants and the run lacks')
    .requiredOption('--config <file>', 's3t.config.json')
    .requiredOption(...RUN)
    .option('--resume', 'the run must exist already (an unfinished run is continued either way)')
    .option(...JSON_OUTPUT)
    .action(train);
}

async function train({ config, run, resume, json }: Options): Promise<void> {
  using interrupts = catchInterrupts(STOP_NOTE);
  // Opened without a configuration, a run that is not there is an error.
  if (resume) await withRun({ run }, async () => {});
  const result = await withRun({ run, config }, (unlearner) => trainMissing(unlearner, 'train', interrupts));
  printWork(result, { run, json });
}
