import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { selectSequences } from '@s3t/algorithm';
import { Device } from '@s3t/engine';
import { openLedger } from '@s3t/ledger';
import { decodeStage, type StageValues } from '@s3t/model';
import { type RunConfig, readConfig, Unlearner, type UnlearnerEvent } from '@s3t/unlearner';
import { prepareRun, type RunRecord, readSplit } from '@s3t/unlearner/parts';
import { LaboratoryError } from './errors.ts';
import { trainFully } from './full-training.ts';
import { Journal, type Seconds, stopwatch } from './journal.ts';
import { openScorer, type Scorer } from './scorer.ts';
import { type Bench, layOut } from './stages.ts';
import { deletionOrder, type Method, type Performance, performanceOverDeletions } from './streams.ts';

export interface ExperimentOptions {
  /** s3t.config.json of the run. */
  config: string;
  /** Folder of run, journal and results: the same call goes on where it stopped. */
  out: string;
  /** S3T is shown at these budgets; 1 is SISA. Default: 1, 2, 4, ... and that of the run. */
  budgets?: readonly number[];
  /** Random deletion streams. Default: 20. */
  streams?: number;
  seed?: number;
  /** Train the baselines that train all layers at once. Default: true. */
  full?: boolean;
  /** Train fully once more after as many random deletions. Default: none. */
  retrainAfter?: readonly number[];
  signal?: AbortSignal;
  onEvent?: (event: UnlearnerEvent) => void;
  onStep?: (what: string, done: number, total: number) => void;
}

/** One stage of the run, as the journal keeps it. */
export interface StageLine {
  stage: string;
  shard: number;
  position: number;
  slices: readonly number[];
  /** Null where nobody knows: the run was killed between keeping the stage and writing this line. */
  seconds: Seconds | null;
}

export interface ExperimentResult {
  shards: number;
  slices: number;
  budget: number;
  strategy: string;
  sequences: readonly (readonly number[])[];
  records: number;
  /** Of the evaluation data. */
  examples: number;
  metric: string;
  /** What is counted where nothing answers: guessing. */
  nothing: number;
  /** The whole ensemble, before any deletion. */
  ensemble: number;
  /** Ensembles in which every shard serves this many stages of its first sequence. */
  byDepth: number[];
  /** Each shard by itself. */
  alone: number[];
  /** All layers at once on all records; and one such model for each shard, as an ensemble. */
  full: { score: number; seconds: Seconds | null } | null;
  fullByShard: { score: number } | null;
  /** S3T at several budgets and SISA, as records are deleted. */
  methods: Performance[];
  /** Full retraining after every deletion: what it gives after as many deletions. */
  retraining: { deletions: number; score: number }[];
  stages: StageLine[];
  /** Of all stages' files. */
  bytes: number;
}

/** Trains a run, measures every prefix of it once, and says how S3T at several budgets, SISA and full retraining fare as records are deleted. */
export async function runExperiment(o: ExperimentOptions): Promise<ExperimentResult> {
  const located = await readConfig(o.config);
  const { config } = located;
  if (config.data.eval === undefined)
    throw new LaboratoryError('usage', `${o.config}: data.eval: is missing: there is nothing to measure on`);
  // Now, and not once all is trained: what cannot be measured, and evaluation data that cannot be read.
  refuseBudgets(config, o.budgets);
  await readSplit(located, 'eval');
  await mkdir(o.out, { recursive: true });
  const device = await Device.open();
  try {
    const run = join(o.out, 'run');
    const journal = new Journal<StageLine>(join(o.out, 'stages.jsonl'));
    await trainRun(o, run, device, journal);
    const prepared = await prepareRun(device, located);
    const bench = await layOut(located, prepared);
    const { values, bytes } = await readStages(config, bench, run);
    const scorer = await openScorer(located, bench, values, {
      signal: o.signal,
      onStep: (done, total) => o.onStep?.('logits of every prefix', done, total),
    });
    const measured = await measure(o, config, bench, scorer);
    const result: ExperimentResult = { ...measured, stages: await stageLines(journal, bench), bytes };
    const file = join(o.out, 'results.json');
    await writeFile(`${file}.part`, `${JSON.stringify(result, null, 2)}\n`);
    await rename(`${file}.part`, file);
    return result;
  } finally {
    device.close();
  }
}

/** Trains what the run lacks, and writes down what every stage took. */
async function trainRun(
  { config, retrainAfter = [], signal, onEvent }: ExperimentOptions,
  run: string,
  device: Device,
  journal: Journal<StageLine>,
): Promise<void> {
  await using unlearner = await Unlearner.open({ run, config, device });
  const { records } = await unlearner.status();
  for (const deletions of retrainAfter)
    if (deletions >= records)
      throw new LaboratoryError(
        'usage',
        `--retrain-after: after ${deletions} of ${records} deletions nothing is left to train on; the nearest valid value is ${records - 1}`,
      );
  const known = new Set((await journal.read()).map(({ stage }) => stage));
  let elapsed = stopwatch();
  let slices: readonly number[] = [];
  let writing = Promise.resolve();
  unlearner.on((event) => {
    if (event.type === 'stage-started') {
      elapsed = stopwatch();
      slices = event.slices;
    }
    if (event.type === 'stage-published' && !known.has(event.stage)) {
      const { stage, shard, position } = event;
      const line = { stage, shard, position, slices, seconds: elapsed() };
      writing = writing.then(() => journal.add(line));
      // Of stages that are trained in one batch the first counts for all.
      elapsed = stopwatch();
    }
    onEvent?.(event);
  });
  try {
    await unlearner.train({ signal });
  } finally {
    await writing;
  }
}

/** A line for every stage of the run, in the order of its plan. */
async function stageLines(journal: Journal<StageLine>, { plan }: Bench): Promise<StageLine[]> {
  const lines = new Map((await journal.read()).map((line) => [line.stage, line]));
  for (const { id: stage, shard, position, slices } of plan) {
    if (lines.has(stage)) continue;
    const line = { stage, shard, position, slices, seconds: null };
    await journal.add(line);
    lines.set(stage, line);
  }
  return plan.map(({ id }) => lines.get(id)!);
}

/** The values of every stage that the run has, and the bytes of their files. */
async function readStages(
  config: RunConfig,
  { plan, groups, prepared }: Bench,
  run: string,
): Promise<{ values: Map<string, StageValues>; bytes: number }> {
  const ledger = await openLedger({ store: config.store, folder: run });
  try {
    const values = new Map<string, StageValues>();
    let bytes = 0;
    for (const { id, position, weights } of await ledger.activeStages()) {
      const file = (await ledger.adapters.get(weights)) as Uint8Array<ArrayBuffer>;
      bytes += file.length;
      values.set(id, decodeStage(file, prepared.form, groups[position]!, ledger.adapters.path(weights)));
    }
    const missing = plan.find(({ id }) => !values.has(id));
    if (missing)
      throw new LaboratoryError(
        'data',
        `${run}: stage ${missing.id.slice(0, 12)} is missing: this run was trained on other records, or some were erased; give the same --records, or use another folder`,
      );
    return { values, bytes };
  } finally {
    await ledger.close();
  }
}

async function measure(
  o: ExperimentOptions,
  config: RunConfig,
  bench: Bench,
  scorer: Scorer,
): Promise<Omit<ExperimentResult, 'stages' | 'bytes'>> {
  const { shards, slices, budget } = config;
  const { sequences } = bench.prepared;
  const every = <T>(of: (shard: number) => T): T[] => Array.from({ length: shards }, (_, shard) => of(shard));
  const first = sequences[0]!;
  const byDepth: number[] = [];
  for (let depth = 1; depth <= slices; depth++)
    byDepth.push(await scorer.score(every(() => first.slice(0, depth))));
  const alone: number[] = [];
  for (let shard = 0; shard < shards; shard++)
    alone.push(await scorer.score(every((one) => (one === shard ? first : null))));
  const { full, fullByShard, retraining } = await baselines(o, config, bench, scorer);
  const methods = await performanceOverDeletions({
    ...{ shards, slices, methods: methodsOf(config, sequences, o.budgets) },
    cells: bench.records.flatMap((own, shard) =>
      own.flatMap((records, slice) => records.map(() => shard * slices + slice)),
    ),
    ...{ streams: o.streams ?? 20, seed: o.seed ?? 1, score: scorer.score, nothing: scorer.nothing },
  });
  return {
    ...{ shards, slices, budget, strategy: config.sequences.strategy, sequences },
    records: bench.records.flat(2).length,
    ...{ examples: scorer.examples, metric: scorer.metric, nothing: scorer.nothing },
    ...{ ensemble: byDepth.at(-1)!, byDepth, alone, full, fullByShard, methods, retraining },
  };
}

async function baselines(
  { full: wanted = true, out, retrainAfter = [], seed = 1, signal, onStep }: ExperimentOptions,
  config: RunConfig,
  bench: Bench,
  scorer: Scorer,
): Promise<Pick<ExperimentResult, 'full' | 'fullByShard' | 'retraining'>> {
  if (!wanted) return { full: null, fullByShard: null, retraining: [] };
  const train = (records: readonly RunRecord[], what: string) =>
    trainFully(bench, config, records, out, {
      signal,
      onStep: (step, steps) => onStep?.(what, step, steps),
    });
  const all = bench.records.flat(2);
  const { stage, seconds } = await train(all, 'full training');
  const full = { score: await scorer.scoreOf([[stage]]), seconds };
  const byShard = [];
  for (const [shard, records] of bench.records.entries())
    byShard.push([(await train(records.flat(), `full training of shard ${shard}`)).stage]);
  const retraining = [{ deletions: 0, score: full.score }];
  const order = deletionOrder(all.length, 0, seed);
  for (const deletions of retrainAfter) {
    const left = await train(
      order.slice(deletions).map((record) => all[record]!),
      `full training after ${deletions} deletions`,
    );
    retraining.push({ deletions, score: await scorer.scoreOf([[left.stage]]) });
  }
  return { full, fullByShard: { score: await scorer.scoreOf(byShard) }, retraining };
}

function refuseBudgets({ budget }: RunConfig, wanted: readonly number[] = []): void {
  if (wanted.some((one) => one < 1))
    throw new LaboratoryError(
      'usage',
      `--budgets: ${Math.min(...wanted)} sequences are none; the nearest valid value is 1`,
    );
  const greatest = Math.max(...wanted);
  if (greatest <= budget) return;
  throw new LaboratoryError(
    'usage',
    `--budgets: ${greatest} is more than the budget ${budget} that is trained; the nearest valid value is ${budget}`,
  );
}

/** S3T at several budgets, SISA first. Only what the run has trained can be shown. */
function methodsOf(
  { slices, budget, sequences: { strategy, ...options }, training }: RunConfig,
  trained: readonly (readonly number[])[],
  wanted?: readonly number[],
): Method[] {
  const budgets = [...new Set(wanted ?? [1, 2, slices, budget].filter((one) => one <= budget))];
  const have = new Set(trained.map(String));
  return budgets
    .sort((a, b) => a - b)
    .flatMap((one): Method[] => {
      // All orders are those of cyclic rotation at any budget, too.
      const name = strategy === 'all' && one < budget ? 'cyclic' : strategy;
      const sequences =
        one === budget
          ? trained
          : selectSequences(name, { slices, budget: one, seed: training.seed, ...options });
      const isTrained = sequences.every((order) => have.has(String(order)));
      return isTrained ? [{ name: one === 1 ? 'SISA' : `S3T, B = ${one}`, sequences }] : [];
    });
}
