import type { ExperimentResult, ScheduleComparison } from '@s3t/laboratory';
import type { LineChart } from '@s3t/laboratory/plot';
import { bytes, count, duration } from '../terminal/format.ts';
import { facts, right, table } from '../terminal/table.ts';

const decimals = (value: number): string => value.toFixed(4);

/** The one table of an experiment. */
export function renderExperiment(title: string, r: ExperimentResult): string {
  const rows: [string, number | undefined][] = [
    ['S3T, the whole ensemble', r.ensemble],
    ...r.byDepth
      .slice(0, -1)
      .map((score, i): [string, number] => [`  at depth ${i + 1} of ${r.slices}`, score]),
    ['  a shard alone, mean', r.alone.reduce((total, score) => total + score, 0) / r.alone.length],
    ['all layers at once, all records', r.full?.score],
    ['all layers at once, a model for each shard', r.fullByShard?.score],
    ...r.retraining
      .slice(1)
      .map(({ deletions, score }): [string, number] => [
        `all layers at once, after ${plural(deletions)}`,
        score,
      ]),
  ];
  const quality = table(
    [{ title: '' }, right(r.metric)],
    rows.flatMap(([name, score]) => (score === undefined ? [] : [[name, decimals(score)]])),
  );
  const marks = marksOf(r);
  const over = table(
    [
      { title: `${r.metric} after` },
      ...marks.map((deletions) => right(String(deletions))),
      right('exhausted after'),
    ],
    r.methods.map(({ name, mean, deletions }) => [
      name,
      ...marks.map((mark) => decimals(mean[mark] ?? r.nothing)),
      `${deletions.mean.toFixed(1)} ± ${deletions.std.toFixed(1)}`,
    ]),
  );
  const cpu = r.stages.reduce((total, { seconds }) => total + (seconds?.cpu ?? 0), 0);
  const shape = facts([
    ['shape', `${r.shards} shards, ${r.slices} slices, budget ${r.budget}, ${r.strategy}`],
    ['records', `${count(r.records)}, measured on ${count(r.examples)}`],
    ['stages', `${count(r.stages.length)}, ${bytes(r.bytes)}, ${duration(cpu)} of processor time`],
  ]);
  return [title, shape, '', quality, '', over].join('\n');
}

const plural = (deletions: number): string => `${count(deletions)} deletion${deletions === 1 ? '' : 's'}`;

/** Deletions to show: none, and doubling. */
function marksOf({ methods }: ExperimentResult): number[] {
  const last = methods[0]!.mean.length - 1;
  const marks = [0];
  for (let mark = 5; mark < last; mark *= 2) marks.push(mark);
  return marks;
}

export function performanceChart(title: string, r: ExperimentResult): LineChart {
  const last = r.methods[0]!.mean.length - 1;
  const lines = r.methods.map(({ name, mean }) => ({
    name,
    points: mean.map((score, deletions): [number, number] => [deletions, score]),
  }));
  const full = r.retraining.length > 0 ? [retrainingLine(r, last)] : [];
  return {
    title: `${title}: ${r.metric} as records are deleted`,
    x: 'deletions',
    y: r.metric,
    lines: [...lines, ...full],
  };
}

/** What was retrained, and on to the right as it was last. */
function retrainingLine({ retraining }: ExperimentResult, last: number): LineChart['lines'][number] {
  const points = retraining.map(({ deletions, score }): [number, number] => [deletions, score]);
  const [at, score] = points.at(-1)!;
  return { name: 'full retraining each time', points: at < last ? [...points, [last, score]] : points };
}

/** S3T beside the public code's schedule. */
export function renderSchedules(c: ScheduleComparison): string {
  const { seconds, stages, predicted } = c;
  const row = (
    name: string,
    trained: number,
    { cpu, wall }: { cpu: number; wall: number },
    passes: number,
  ) => [name, count(trained), duration(cpu), duration(wall), count(passes)];
  const times = (ratio: number): string => `${ratio.toFixed(3)} x`;
  return [
    table(
      [{ title: 'schedule' }, ...['stages', 'processor', 'clock', 'layer passes'].map(right)],
      [
        row('S3T', stages.s3t, seconds.s3t, predicted.s3t),
        row('public code', stages.published, seconds.published, predicted.published),
        ['ratio', '', times(c.ratio.cpu), times(c.ratio.wall), times(predicted.ratio)],
      ],
    ),
    `\n${(c.reached * 100).toFixed(1)} % of the ratio that counting layers predicts, by processor time; ${
      c.identical ? 'every stage has the same bytes either way' : 'STAGES DIFFER'
    }.`,
  ].join('\n');
}
