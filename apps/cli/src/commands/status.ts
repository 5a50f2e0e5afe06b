import type { Command } from 'commander';
import { JSON_OUTPUT, RUN, type RunOptions } from '../options.ts';
import { readOrAsk, withRun } from '../run-access.ts';
import { expectedErasuresLeft, renderStatus } from '../status-map.ts';
import { print, printJson } from '../terminal/print.ts';

/** `s3t status`: shards x sequences x positions, served depth, erasures, expected erasures left. */
export function addStatus(program: Command): void {
  program
    .command('status')
    .description('what is trained, served and missing, shard by shard')
    .requiredOption(...RUN)
    .option(...JSON_OUTPUT)
    .action(showStatus);
}

async function showStatus({ run, json }: RunOptions): Promise<void> {
  const status = await readOrAsk(
    async () => {
      const { readStatus } = await import('@s3t/unlearner');
      return (await readStatus(run)) ?? withRun({ run }, (unlearner) => unlearner.status());
    },
    (server) => server.status(),
  );
  if (json) printJson({ ...status, expectedErasuresLeft: expectedErasuresLeft(status) });
  else print(renderStatus(status, run));
}
