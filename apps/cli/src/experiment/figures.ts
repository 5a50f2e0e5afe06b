import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import {
  countStages,
  deletionRate,
  expectedRetrainings,
  greatestEditDistance,
  selectSequences,
  simulateDeletionRate,
  simulateDiversity,
  simulateRetrainings,
} from '@s3t/algorithm';
import type { ExperimentResult } from '@s3t/laboratory';
import type { Line, LineChart } from '@s3t/laboratory/plot';
import type { Command } from 'commander';
import { UsageError } from '../errors.ts';
import { integer, JSON_OUTPUT, type JsonOption } from '../options.ts';
import { writePlot } from '../plot/plot-file.ts';
import { isPossible } from '../simulate/options.ts';
import { print, printJson } from '../terminal/print.ts';
import { right, table } from '../terminal/table.ts';
import { performanceChart } from './render.ts';

interface Options extends JsonOption {
  out: string;
  shards: number;
  slices: number;
  requests: number;
  trials: number;
  seed: number;
}

/** A figure, and the numbers it is drawn from are its lines. */
export type Figures = Record<string, LineChart>;

/** `s3t experiment figures`: the paper's figures from the theory, simulations and experiments that are there. */
export function addFigures(experiment: Command): void {
  experiment
    .command('figures')
    .description("the paper's figures as SVG and PNG, and their numbers")
    .argument('[experiments...]', 'folders of experiments that ran')
    .option('--out <dir>', 'where figures go', 'runs/experiments/figures')
    .option('--shards <m>', 'shards', integer(1), 5)
    .option('--slices <L>', 'slices of a shard', integer(1, 8), 4)
    .option('--requests <R>', 'deletion requests', integer(1), 1000)
    .option('--trials <n>', 'simulated runs for each point', integer(1, 2 ** 32), 10_000)
    .option('--seed <n>', 'seed of the simulations', integer(0), 1)
    .option(...JSON_OUTPUT)
    .action(drawFigures);
}

async function drawFigures(folders: string[], o: Options): Promise<void> {
  const figures = theoryFigures(o);
  const named = new Map<string, string>();
  for (const folder of folders) {
    const name = basename(resolve(folder));
    const other = named.get(name);
    if (other !== undefined)
      throw new UsageError(
        `${folder}: its figures would be named as those of ${other}; rename one of the folders`,
      );
    named.set(name, folder);
    Object.assign(figures, experimentFigures(name, await resultsOf(folder), o));
  }
  await mkdir(o.out, { recursive: true });
  for (const [name, chart] of Object.entries(figures))
    for (const kind of ['svg', 'png']) await writePlot(join(o.out, `${name}.${kind}`), chart);
  await writeFile(join(o.out, 'figures.json'), `${JSON.stringify(figures, null, 1)}\n`);
  if (o.json) return printJson(figures);
  print(renderRates(o));
}

async function resultsOf(folder: string): Promise<ExperimentResult> {
  const file = join(folder, 'results.json');
  try {
    const results = JSON.parse(await readFile(file, 'utf8')) as ExperimentResult;
    if (Array.isArray(results.methods)) return results;
  } catch {
    // None, or none that can be read: told below.
  }
  throw new UsageError(`${file}: there are no results here; run s3t experiment with --out ${folder} first`);
}

type Point = [number, number];

/** Deletion rate against B, m and L, diversity: theory is a line, simulations are dots. */
function theoryFigures({ shards, slices, trials, seed }: Options): Figures {
  const common = { strategy: 'cyclic', trials, seed };
  const both = (
    name: string,
    shapes: readonly (readonly [number, { shards: number; slices: number; budget: number }])[],
  ): Line[] => [
    { name: `${name}, Lemma 1`, points: shapes.map(([x, shape]): Point => [x, deletionRate(shape)]) },
    {
      name: `${name}, simulated`,
      dots: true,
      points: shapes.map(([x, shape]): Point => [x, simulateDeletionRate({ ...common, ...shape }).mean]),
    },
  ];
  const upTo = (last: number) => Array.from({ length: last }, (_, i) => i + 1);
  const rate = (x: string, lines: Line[]): LineChart => ({
    title: `Deletion rate against ${x}`,
    ...{ x, y: 'deletions until nothing is served', lines },
  });
  // Two slices or one have fewer orders than that.
  const isThere = (budget: number) => isPossible({ strategy: 'cyclic', slices, budget });
  const budgets = upTo(slices + 2).filter(isThere);
  const orders = slices === 1 ? [1] : upTo(2 * slices).filter((budget) => budget > 1 && isThere(budget));
  const perStrategy = (strategy: string): Line => ({
    name: strategy,
    dots: true,
    // Only so many as there are orders, or as the strategy gives.
    points: orders
      .filter((budget) => isPossible({ strategy, slices, budget }))
      .map(
        (budget): Point => [
          budget,
          simulateDiversity({ ...{ slices, budget, strategy, seed }, trials: Math.min(trials, 200) }).mean,
        ],
      ),
  });
  return {
    'deletion-rate-budget': rate(
      'budget B',
      both(
        'S3T',
        budgets.map((budget) => [budget, { shards, slices, budget }]),
      ),
    ),
    'deletion-rate-shards': rate('shards m', [
      ...both(
        `S3T, B = ${slices}`,
        upTo(10).map((m) => [m, { shards: m, slices, budget: slices }]),
      ),
      ...both(
        'SISA',
        upTo(10).map((m) => [m, { shards: m, slices, budget: 1 }]),
      ),
    ]),
    'deletion-rate-slices': rate('slices L', [
      ...both(
        'S3T, B = L',
        upTo(8).map((l) => [l, { shards, slices: l, budget: l }]),
      ),
      ...both(
        'SISA',
        upTo(8).map((l) => [l, { shards, slices: l, budget: 1 }]),
      ),
    ]),
    diversity: {
      title: `Diversity of sequences of ${slices} slices`,
      ...{ x: 'budget B', y: 'positions in which two sequences differ, on average' },
      lines: [
        {
          name: 'greatest possible (Lemma 3)',
          points: orders.map((budget): Point => [budget, greatestEditDistance({ slices, budget })]),
        },
        ...['cyclic', 'bms', 'conditional', 'random']
          .map(perStrategy)
          .filter(({ points }) => points.length > 0),
      ],
    },
  };
}

/** Performance against deletions, deletion time with the experiment's own stage times, storage. */
function experimentFigures(
  name: string,
  r: ExperimentResult,
  o: Pick<Options, 'requests' | 'trials' | 'seed'>,
): Figures {
  return {
    [`${name}-performance`]: performanceChart(name, r),
    [`${name}-deletion-time`]: deletionTimeChart(r, o),
    [`${name}-storage`]: storageChart(r),
  };
}

/** Seconds of processor time by the slices of a stage, summed over shards. A stage of which none is known counts as others of its position. */
function stageSeconds({ stages }: ExperimentResult): Map<string, number> {
  const typical = (position: number): number => {
    const known = stages.flatMap((one) =>
      one.position === position && one.seconds ? [one.seconds.cpu] : [],
    );
    return known.length > 0 ? known.reduce((total, cpu) => total + cpu, 0) / known.length : 0;
  };
  const seconds = new Map<string, number>();
  for (const { slices, position, seconds: own } of stages)
    seconds.set(String(slices), (seconds.get(String(slices)) ?? 0) + (own?.cpu ?? typical(position)));
  return seconds;
}

const prefixesOf = (sequences: readonly (readonly number[])[]): string[] => [
  ...new Set(sequences.flatMap((order) => order.map((_, position) => String(order.slice(0, position + 1))))),
];

export function deletionTimeChart(
  r: ExperimentResult,
  { requests, trials, seed }: Pick<Options, 'requests' | 'trials' | 'seed'>,
): LineChart {
  const { shards, slices, budget, strategy, sequences } = r;
  const seconds = stageSeconds(r);
  const whole = (some: readonly (readonly number[])[]): number =>
    prefixesOf(some).reduce((total, prefix) => total + (seconds.get(prefix) ?? 0), 0);
  const first = sequences[0]!;
  const ends = first.map((_, position) => whole([first]) - whole([first.slice(0, position)]));
  // SISA retrains one shard from the slice that was hit on, and every slice is hit alike.
  const atOnce = ends.reduce((total, end) => total + end, 0) / slices / shards;
  const counts = Array.from({ length: 21 }, (_, i) => Math.round((i * requests) / 20));
  const exhausted = (b: number, each: number): Point[] =>
    counts.map((deletions) => [
      deletions,
      (expectedRetrainings({ shards, slices, budget: b, deletions }) * each) / 3600,
    ]);
  const simulated = counts.filter((_, i) => i % 4 === 0);
  const lines: Line[] = [
    { name: `S3T, B = ${budget}: retrained when exhausted`, points: exhausted(budget, whole(sequences)) },
    {
      name: `S3T, B = ${budget}, simulated`,
      dots: true,
      points: simulated.map((deletions): Point => {
        const shape = { shards, slices, budget, strategy, seed, deletions, trials: Math.min(trials, 1000) };
        return [deletions, (simulateRetrainings(shape).mean * whole(sequences)) / 3600];
      }),
    },
    { name: 'SISA: retrained when exhausted', points: exhausted(1, whole([first])) },
    { name: 'SISA: shard retrained at once', points: counts.map((n): Point => [n, (n * atOnce) / 3600]) },
  ];
  const scratch = r.full?.seconds?.cpu;
  if (scratch)
    lines.push({
      name: 'retraining from scratch',
      points: counts.map((n): Point => [n, (n * scratch) / 3600]),
    });
  return {
    title: `Training time for ${requests} deletions`,
    x: 'deletions',
    y: 'hours of processor time',
    lines,
  };
}

export function storageChart({
  shards,
  slices,
  budget,
  strategy,
  bytes,
  stages,
}: ExperimentResult): LineChart {
  const each = bytes / stages.length / 1024;
  const budgets = Array.from({ length: budget }, (_, i) => i + 1);
  const name = strategy === 'all' ? 'cyclic' : strategy;
  return {
    title: 'Storage of adapters',
    ...{ x: 'budget B', y: 'KiB' },
    lines: [
      { name: 'B m full stacks', points: budgets.map((b): Point => [b, b * shards * slices * each]) },
      {
        name: 'distinct prefixes',
        dots: true,
        points: budgets
          .filter((b) => isPossible({ strategy: name, slices, budget: b }))
          .map((b): Point => [b, shards * countStages(selectSequences(name, { slices, budget: b })) * each]),
      },
    ],
  };
}

/** Lemma 1 beside its simulation, and S3T beside SISA. */
function renderRates({ shards, slices, trials, seed }: Options): string {
  const sisa = simulateDeletionRate({ shards, slices, budget: 1, strategy: 'cyclic', trials, seed }).mean;
  const rows = Array.from({ length: slices }, (_, i) => i + 1).map((budget) => {
    const theory = deletionRate({ shards, slices, budget });
    const { mean } = simulateDeletionRate({ shards, slices, budget, strategy: 'cyclic', trials, seed });
    const off = ((mean / theory - 1) * 100).toFixed(2);
    return [String(budget), theory.toFixed(2), mean.toFixed(2), `${off} %`, `${(mean / sisa).toFixed(3)} x`];
  });
  const columns = ['budget', 'Lemma 1', 'simulated', 'off by', 'SISA'].map(right);
  return `Deletions until nothing is served, m = ${shards}, L = ${slices}\n${table(columns, rows)}`;
}
