import type { Evaluation } from '@s3t/unlearner';
import type { Command } from 'commander';
import { JSON_OUTPUT, RUN, type RunOptions } from '../options.ts';
import { withRun } from '../run-access.ts';
import { count, percent } from '../terminal/format.ts';
import { print, printJson } from '../terminal/print.ts';
import { table } from '../terminal/table.ts';

/** `s3t eval`: the ensemble and each shard on the evaluation set. */
export function addEval(program: Command): void {
  program
    .command('eval')
    .description('accuracy of the ensemble and of each shard on the evaluation set')
    .requiredOption(...RUN)
    .option(...JSON_OUTPUT)
    .action(evaluate);
}

async function evaluate({ run, json }: RunOptions): Promise<void> {
  const evaluation = await withRun({ run }, (unlearner) => unlearner.evaluate());
  if (json) printJson(evaluation);
  else print(render(evaluation));
}

function render({ accuracy, examples, version, shards }: Evaluation): string {
  const rows = shards.map(({ shard, accuracy, depth }) => [
    `shard ${shard}`,
    String(depth),
    percent(accuracy),
  ]);
  const columns = [
    { title: '' },
    { title: 'depth', align: 'right' as const },
    { title: 'accuracy', align: 'right' as const },
  ];
  return [
    table(columns, [['ensemble', '', percent(accuracy)], ...rows]),
    `\n${count(examples)} examples, version ${version}.`,
  ].join('\n');
}
