import type { Evaluation, Measures } from '@s3t/unlearner';
import type { Command } from 'commander';
import { JSON_OUTPUT, RUN, type RunOptions } from '../options.ts';
import { withFreeRun } from '../run-access.ts';
import { count, percent } from '../terminal/format.ts';
import { print, printJson } from '../terminal/print.ts';
import { table } from '../terminal/table.ts';

/** `s3t eval`: the ensemble and each shard on the evaluation set. */
export function addEval(program: Command): void {
  program
    .command('eval')
    .description(
      'the ensemble and each shard on the evaluation set: accuracy, and what else the task is measured with',
    )
    .requiredOption(...RUN)
    .option(...JSON_OUTPUT)
    .action(evaluate);
}

async function evaluate({ run, json }: RunOptions): Promise<void> {
  const evaluation = await withFreeRun(
    run,
    (unlearner) => unlearner.evaluate(),
    (url) => `have it measured there: POST ${url}/v1/history`,
  );
  if (json) printJson(evaluation);
  else print(renderEvaluation(evaluation));
}

/** Measures in the order in which they are shown, and how. */
const MEASURES: Record<keyof Measures, { title: string; show: (value: number) => string }> = {
  accuracy: { title: 'accuracy', show: percent },
  matthews: { title: 'Matthews', show: decimals },
  f1: { title: 'F1', show: decimals },
  pearson: { title: 'Pearson', show: decimals },
  spearman: { title: 'Spearman', show: decimals },
  meanSquaredError: { title: 'mean squared error', show: decimals },
  perplexity: { title: 'perplexity', show: decimals },
};

function decimals(value: number): string {
  return value.toPrecision(4);
}

/** The ensemble and each shard as a table. */
export function renderEvaluation({ examples, version, shards, ...ensemble }: Evaluation): string {
  const names = (Object.keys(MEASURES) as (keyof Measures)[]).filter((name) => ensemble[name] !== undefined);
  const cells = (measures: Measures) =>
    // A correlation with what does not vary is none.
    names.map((name) => (measures[name] == null ? '-' : MEASURES[name].show(measures[name])));
  const right = (title: string) => ({ title, align: 'right' as const });
  const rows = shards.map((shard) => [`shard ${shard.shard}`, String(shard.depth), ...cells(shard)]);
  return [
    table(
      [{ title: '' }, right('depth'), ...names.map((name) => right(MEASURES[name].title))],
      [['ensemble', '', ...cells(ensemble)], ...rows],
    ),
    `\n${count(examples)} examples, version ${version}.`,
  ].join('\n');
}
