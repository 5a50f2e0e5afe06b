import { PlanError, type PlanOptions, plan, type RepairPolicy, type StageCosts } from '@s3t/algorithm';
import type { Command } from 'commander';
import { UsageError } from '../errors.ts';
import { byteCount, integer, JSON_OUTPUT, type JsonOption, number, numbers, PRIOR } from '../options.ts';
import { type Measured, measuredOf } from '../planner/measured.ts';
import { POLICIES, policies, policyName } from '../planner/policies.ts';
import { alternativesOf, planChart, renderPlan } from '../planner/render.ts';
import { PLOT, type PlotOption, writePlot } from '../plot/plot-file.ts';
import { STRATEGIES } from '../simulate/options.ts';
import { bytes, count, duration, plural } from '../terminal/format.ts';
import { print, printJson, say } from '../terminal/print.ts';

/**
 * Of assets/vit-tiny with rank 16 on query and value and 10 labels: three passes over handwritten digits, 4 slices of 300, medians of the stages at
 * each position on two busy cores with lavapipe.
 */
const MEASURED = {
  layers: 8,
  layerBytes: 16_384,
  headBytes: 2_600,
  secondsPerRecord: [0.0028, 0.005, 0.0069, 0.009],
};

/** Shapes that are tried where none is asked for. */
const SHARDS = [1, 2, 3, 5, 8, 12, 20];
const SLICES = [2, 3, 4, 6, 8, 12, 16, 24, 32];
const BUDGETS = [1, 2, 4, 8, 16, 32];

/** More in one history cost time and tell nothing new. */
const MOST_ERASURES = 20_000;

interface Options extends JsonOption, PlotOption {
  records: number;
  erasuresPerDay: number;
  storage: number;
  trainHours: number;
  prior?: number[];
  shards?: number;
  slices?: number;
  budget?: number;
  strategy?: string;
  policy?: RepairPolicy[];
  from?: string;
  layers?: number;
  layerBytes?: number;
  headBytes?: number;
  stageSecondsPerRecord?: number[];
  accuracyByDepth?: number[];
  recordsPerSlice: number;
  maxLoad: number;
  minAvailability: number;
  maxLoss?: number;
  days?: number;
  trials: number;
  seed: number;
}

/** `s3t plan`: shards, slices, budget, strategy and repair policy for a data set, an erasure rate, a storage and a time budget. */
export function addPlan(program: Command): void {
  program
    .command('plan')
    .description(
      'shards, slices, budget, strategy and repair policy for data, an erasure rate and limits, by simulation',
    )
    .requiredOption('--records <n>', 'records to train on', integer(1))
    .requiredOption('--erasures-per-day <x>', 'record erasures expected in a day', number(0))
    .requiredOption('--storage <bytes>', 'for all stages, for example 2GB or 512MiB', byteCount)
    .requiredOption('--train-hours <h>', 'for the first training', number(0))
    .option(PRIOR[0], `${PRIOR[1]}; fixes the slices`, PRIOR[2])
    .option('--shards <m>', 'only this many shards', integer(1))
    .option('--slices <L>', 'only this many slices', integer(1))
    .option('--budget <B>', 'only this budget', integer(1))
    .option('--strategy <name>', `only this one of ${STRATEGIES} (default: cyclic, with a prior bms too)`)
    .option(
      '--policy <list>',
      'only these repair policies: at-once, batch:10, batch:24h, batch:10/30m, exhaustion, manual',
      policies,
    )
    .option(
      '--from <dir>',
      'take the next five from this run or experiment: what its stages weigh and took, and its accuracy by depth',
    )
    .option('--layers <n>', `layers of the base (default: ${MEASURED.layers})`, integer(1))
    .option('--layer-bytes <bytes>', `adapters of a layer (default: ${MEASURED.layerBytes})`, byteCount)
    .option('--head-bytes <bytes>', `head of a stage (default: ${MEASURED.headBytes})`, byteCount)
    .option(
      '--stage-seconds-per-record <s,..>',
      `training seconds per record, all passes, of a stage that runs all layers; several: of stages at evenly spaced depths (default: ${MEASURED.secondsPerRecord})`,
      numbers,
    )
    .option(
      '--accuracy-by-depth <a0,a1,..>',
      'accuracy of the ensemble at evenly spaced depths, from none to all',
      numbers,
    )
    .option('--records-per-slice <n>', 'records a slice should hold at least', integer(1), 50)
    .option('--max-load <share>', 'of the time that may go into training', number(0, 1), 0.5)
    .option(
      '--min-availability <share>',
      'of the time in which something must be served',
      number(0, 1),
      0.999,
    )
    .option(
      '--max-loss <share>',
      'of accuracy (default 0.01), or of depth without a curve (default 0.05)',
      number(0, 1),
    )
    .option(
      '--days <n>',
      'days to simulate (default: 30, or what 20,000 erasures take, but a day)',
      number(0.001),
    )
    .option('--trials <n>', 'simulated histories of each plan', integer(1, 1000), 2)
    .option('--seed <n>', 'seed of the simulation', integer(0), 1)
    .option(...PLOT)
    .option(...JSON_OUTPUT)
    .action(showPlan);
}

async function showPlan(options: Options): Promise<void> {
  const { layers, layerBytes, headBytes, stageSecondsPerRecord: secondsPerRecord, from } = options;
  const given = Object.entries({ layers, layerBytes, headBytes, secondsPerRecord });
  const isCurveGiven = options.accuracyByDepth !== undefined;
  const measured: Measured =
    from === undefined ? { costs: MEASURED } : await measuredOf(from, { accuracy: !isCurveGiven });
  // What is given by hand goes first.
  const costs = {
    ...measured.costs,
    ...Object.fromEntries(given.filter(([, value]) => value !== undefined)),
  };
  const accuracyByDepth = options.accuracyByDepth ?? measured.accuracyByDepth;
  const request = requestOf({ ...options, accuracyByDepth }, costs);
  const plans = planOrRefuse(request);
  const [best] = plans;
  const alternatives = alternativesOf(plans);
  if (options.plot) await writePlot(options.plot, planChart(plans));
  if (options.json) {
    const named = [best!, ...alternatives].map((one) => ({
      ...one,
      policy: { ...one.policy, name: policyName(one.policy) },
    }));
    printJson({ plan: named[0], alternatives: named.slice(1), considered: plans.length, request });
    return;
  }
  if (measured.accuracyByDepth && !isCurveGiven)
    say(
      `accuracy by depth, as ${from} has it: ${measured.accuracyByDepth.map((value) => value.toFixed(4)).join(', ')}`,
    );
  print(renderPlan(best!, alternatives, accuracyByDepth !== undefined, request.days));
}

function requestOf(o: Options, costs: StageCosts): PlanOptions {
  refuse(o, costs);
  const only = <T>(value: T | undefined, others: readonly T[]): readonly T[] =>
    value === undefined ? others : [value];
  return {
    records: o.records,
    erasuresPerDay: o.erasuresPerDay,
    costs,
    limits: {
      storageBytes: o.storage,
      trainSeconds: o.trainHours * 3600,
      recordsPerSlice: o.recordsPerSlice,
      trainingLoad: o.maxLoad,
      availability: o.minAvailability,
      loss: o.maxLoss ?? (o.accuracyByDepth ? 0.01 : 0.05),
    },
    choices: {
      shards: only(o.shards, SHARDS),
      slices: only(o.slices, SLICES),
      budget: only(o.budget, BUDGETS),
      strategy: only(o.strategy, o.prior ? ['bms', 'cyclic'] : ['cyclic']),
      policy: o.policy ?? POLICIES,
    },
    prior: o.prior,
    accuracyByDepth: o.accuracyByDepth,
    days: o.days ?? Math.max(1, Math.min(30, MOST_ERASURES / o.erasuresPerDay)),
    trials: o.trials,
    seed: o.seed,
  };
}

/** What goes together only in some ways; the rest is checked where it is used. */
function refuse({ slices, prior, accuracyByDepth }: Options, { layers, secondsPerRecord }: StageCosts): void {
  if (slices !== undefined && slices > layers) {
    throw new UsageError(
      `--slices: ${slices} is more than the ${layers} layers; the nearest valid value is ${layers}`,
    );
  }
  if (prior && slices !== undefined && slices !== prior.length) {
    throw new UsageError(
      `--prior: it has ${prior.length} probabilities for ${slices} slices; give ${slices}`,
    );
  }
  if (prior && prior.length > layers) {
    throw new UsageError(
      `--prior: ${prior.length} slices are more than the ${layers} layers; give at most ${layers}`,
    );
  }
  const negative = secondsPerRecord.find((seconds) => seconds < 0);
  if (negative !== undefined) {
    throw new UsageError(`--stage-seconds-per-record: ${negative} is below 0; the nearest valid value is 0`);
  }
  if (!accuracyByDepth) return;
  if (accuracyByDepth.length < 2) {
    throw new UsageError(
      '--accuracy-by-depth: it needs at least 2 values, the first where nothing is served',
    );
  }
  const odd = accuracyByDepth.find((accuracy) => accuracy < 0 || accuracy > 1);
  if (odd !== undefined) {
    throw new UsageError(
      `--accuracy-by-depth: ${odd} is no accuracy; the nearest valid value is ${odd < 0 ? 0 : 1}`,
    );
  }
}

/** Which option is too small, when nothing fits, and what would do. */
function planOrRefuse(request: PlanOptions): ReturnType<typeof plan> {
  try {
    return plan(request);
  } catch (error) {
    if (!(error instanceof PlanError)) throw error;
    const { shards, slices, budget } = error.nearest;
    const wants = error.missing.map(({ name, value, limit }) => {
      if (name === 'storage') return `--storage: ${bytes(limit)} is too little; ${bytes(value)} would do`;
      if (name === 'training time') {
        return `--train-hours: ${duration(limit)} is too little; ${duration(value)} (${(Math.ceil((value / 3600) * 1e4) / 1e4).toString()}) would do`;
      }
      const perSlice = Math.max(1, Math.floor(limit / (shards * slices)));
      return `--records-per-slice: ${count(limit)} records fill no ${shards} x ${slices} slices so far; ${perSlice} would do`;
    });
    throw new UsageError(
      `${wants.join('; ')} (${plural(shards, 'shard')}, ${plural(slices, 'slice')}, budget ${budget})`,
    );
  }
}
