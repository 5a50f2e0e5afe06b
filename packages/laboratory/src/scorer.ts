import type { StageValues } from '@s3t/model';
import type { LocatedConfig, RunConfig } from '@s3t/unlearner';
import {
  combine,
  encodeAll,
  exampleOf,
  labelNumber,
  measures,
  metricOf,
  outputNames,
  readSplit,
  TASKS,
} from '@s3t/unlearner/parts';
import { openLanguageScorer } from './language-scorer.ts';
import { type MeasuredStage, meanLogits, stackLogits } from './prefixes.ts';
import { type Bench, chainOf } from './stages.ts';

/** Measures ensembles of a run's prefixes on its evaluation data. */
export interface Scorer {
  /** The name of what is measured. */
  metric: string;
  examples: number;
  /** How good guessing is: what is counted where nothing answers. */
  nothing: number;
  /** @param served for each shard the slices of the prefix it serves, in order; null for nothing. At least one serves */
  score(served: readonly (readonly number[] | null)[]): Promise<number>;
  /** @param stacks other ones, top-down */
  scoreOf(stacks: readonly (readonly MeasuredStage[])[]): Promise<number>;
}

/** Reads the evaluation data and, of a classifier, computes the logits of every prefix of every shard once. */
export async function openScorer(
  located: LocatedConfig,
  bench: Bench,
  trained: ReadonlyMap<string, StageValues>,
  { signal, onStep }: { signal?: AbortSignal; onStep?: (done: number, total: number) => void } = {},
): Promise<Scorer> {
  const { config } = located;
  const { prepared, plan } = bench;
  const records = await readSplit(located, 'eval');
  const examples = [];
  for (const record of records) examples.push(await exampleOf(record, config));
  const { learns } = TASKS[config.task];
  if (learns === 'tokens') return openLanguageScorer(config, bench, trained, examples);
  const classes = outputNames(config).length;
  const expected = records.map((record) => labelNumber(record, config));
  const inputs = encodeAll(prepared.base, examples);
  const metric = metricOf(config);
  const score = (logits: readonly Float32Array[]): number => {
    const said =
      learns === 'number'
        ? [...meanLogits(logits)]
        : classesSaid(logits, { rows: expected.length, classes, mode: config.ensemble });
    // A correlation that is undefined, because every answer is the same, tells as little as none.
    return measures(said, expected, { learns, metric, classes })[metric] ?? 0;
  };
  const prefixes = new Map<string, Float32Array>();
  for (let shard = 0; shard < config.shards; shard++) {
    const stages = plan.filter((stage) => stage.shard === shard);
    const stacks = stages.map((stage) => chainOf(bench, stage, trained));
    const logits = await stackLogits(prepared, stacks, inputs, records.length, signal);
    stages.forEach(({ slices }, i) => {
      prefixes.set(`${shard}/${slices}`, logits[i]!);
    });
    onStep?.(shard + 1, config.shards);
  }
  return {
    metric,
    examples: records.length,
    nothing: metric === 'accuracy' ? 1 / classes : 0,
    score: async (served) =>
      score(served.flatMap((slices, shard) => (slices ? [prefixes.get(`${shard}/${slices}`)!] : []))),
    scoreOf: async (stacks) => score(await stackLogits(prepared, stacks, inputs, records.length, signal)),
  };
}

/** The class that an ensemble of these stacks says of each row, as the run would. */
export function classesSaid(
  logits: readonly Float32Array[],
  { rows, classes, mode = 'mean-logits' }: { rows: number; classes: number; mode?: RunConfig['ensemble'] },
): number[] {
  if (mode !== 'mean-logits')
    return Array.from({ length: rows }, (_, row) => combine(logits, row, classes, mode)[0]!.label);
  // The same, quicker: there are hundreds of ensembles to measure.
  const mean = meanLogits(logits);
  return Array.from({ length: rows }, (_, row) => {
    const own = mean.subarray(row * classes, (row + 1) * classes);
    return own.indexOf(Math.max(...own));
  });
}
