import type { LineChart } from '@s3t/laboratory/plot';
import type { AuditMoment, AuditReport } from '@s3t/unlearner';
import type { Command } from 'commander';
import { UsageError } from '../errors.ts';
import { catchInterrupts } from '../interrupt.ts';
import { integer, JSON_OUTPUT, number, RUN, type RunOptions } from '../options.ts';
import { PLOT, type PlotOption, writePlot } from '../plot/plot-file.ts';
import { whereFree } from '../run-access.ts';
import { count, plural } from '../terminal/format.ts';
import { print, printJson, say } from '../terminal/print.ts';
import { table } from '../terminal/table.ts';
import { WorkProgress } from '../work-progress.ts';
import { namedRecords } from './erase.ts';

interface Options extends RunOptions, PlotOption {
  file?: string;
  sample?: number;
  fpr: number;
  resamples: number;
  seed: number;
}

const MOMENTS: Record<AuditMoment, string> = {
  before: 'before the erasure',
  after: 'after it',
  retrained: 'after retraining',
};

/** `s3t audit`: membership inference on records before they are erased, after it and after the repair, in a copy of the run. */
export function addAudit(program: Command): void {
  program
    .command('audit')
    .description(
      'try to tell from the answers which records were learnt from: before they are erased, after it, after retraining; in a copy of the run',
    )
    .argument('[id...]', 'ids of the records (default: a sample)')
    .requiredOption(...RUN)
    .option('--file <ids>', 'a file with one id per line (- for stdin)')
    .option('--sample <n>', 'draw so many records from one slice of each shard (default: 200)', integer(1))
    .option('--fpr <share>', 'of never learnt records that may be taken for learnt ones', number(0, 1), 0.01)
    .option('--resamples <n>', 'of the bootstrap', integer(1, 100_000), 1000)
    .option('--seed <n>', 'seed of sample and bootstrap', integer(0), 1)
    .option(...PLOT)
    .option(...JSON_OUTPUT)
    .action(runAudit);
}

async function runAudit(
  ids: string[],
  { run, json, plot, file, sample, ...options }: Options,
): Promise<void> {
  const named = namedRecords(ids, file);
  if (named.length > 0 && sample !== undefined)
    throw new UsageError('--sample: draws records; leave it out where they are named');
  using interrupts = catchInterrupts('stopping; the run was not changed');
  const progress = new WorkProgress('retrain');
  const { audit } = await import('@s3t/unlearner');
  const work = () =>
    audit({
      ...{ run, ...options, sample, signal: interrupts.signal, on: progress.show },
      ...(named.length > 0 && { records: named }),
      onMoment: (moment) => say(`asking the stacks ${MOMENTS[moment]}`),
    });
  const report = await whereFree(work, () => 'audit a copy of it: s3t backup, s3t restore')
    .catch((error) => interrupts.rethrow(error, 'stopped; the run was not changed'))
    .finally(() => progress.clear());
  if (plot) await writePlot(plot, rocChart(report));
  if (json) printJson(report);
  else print(render(report));
}

function render({ records, controls, shadows, moments }: AuditReport): string {
  const estimate = ({ value, low, high }: { value: number; low: number; high: number }) =>
    `${value.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`;
  const fpr = moments.find(({ attack }) => attack)?.attack?.fpr ?? 0;
  const columns = [
    { title: '' },
    { title: 'served depth' },
    { title: 'area under the ROC curve' },
    { title: `found at ${fpr * 100} % false alarms` },
  ];
  const rows = moments.map(({ moment, depths, attack }) => [
    MOMENTS[moment],
    depths.join(' '),
    attack ? estimate(attack.auc) : 'nothing served',
    attack ? estimate(attack.tpr) : '',
  ]);
  return [
    table(columns, rows),
    '',
    `${plural(records, 'erased record')} against ${plural(controls, 'record')} that nothing learnt from; ${count(Math.round(shadows))} shadow stacks each.`,
    'In brackets 95 % of a bootstrap over records. An area of 0.5, and no more found than false alarms, is what guessing gives.',
  ].join('\n');
}

/** The ROC curves, thinned to what can be seen. */
function rocChart({ moments }: AuditReport): LineChart {
  const thinned = (curve: readonly [number, number][]) => {
    const every = Math.max(1, Math.floor(curve.length / 200));
    return curve.filter((_, i) => i % every === 0 || i === curve.length - 1);
  };
  return {
    title: 'Which records were learnt from?',
    x: 'of the records that nothing learnt from, taken for learnt ones',
    y: 'of the erased records, found',
    lines: [
      ...moments.flatMap(({ moment, attack }) =>
        attack ? [{ name: MOMENTS[moment], points: thinned(attack.curve) }] : [],
      ),
      {
        name: 'guessing',
        points: [
          [0, 0],
          [1, 1],
        ],
      },
    ],
  };
}
