import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Device } from '@s3t/engine';
import { type StageValues, startStage } from '@s3t/model';
import { readConfig } from '@s3t/unlearner';
import { KeptActivations, prepareRun, type StageContext, workStage } from '@s3t/unlearner/parts';
import { type LayerPasses, layerPasses } from './counting.ts';
import { Journal, type Seconds, sum, timed } from './journal.ts';
import { type Bench, chainOf, layOut, recordsOf } from './stages.ts';

export interface ScheduleOptions {
  /** s3t.config.json */
  config: string;
  /** Where measured stages are written down, and found again after a stop. */
  out: string;
  device: Device;
  /** Compare this many shards: all do the same work. Default: all. */
  shards?: number;
  signal?: AbortSignal;
  /** Told of every stage that was measured, and how many there are. */
  onStage?: (line: ScheduleLine, done: number, total: number) => void;
}

/** What one stage of one sequence took under both schedules. */
export interface ScheduleLine {
  shard: number;
  sequence: number;
  position: number;
  stage: string;
  records: number;
  /** Null where an earlier sequence has trained it already. */
  s3t: Seconds | null;
  published: Seconds;
  /** Whether both gave the same bytes; null where nothing was trained to compare with. */
  identical: boolean | null;
}

export interface ScheduleComparison {
  shards: number;
  stages: { s3t: number; published: number };
  seconds: { s3t: Seconds; published: Seconds };
  /** Seconds that keeping activations took, part of `seconds.s3t`. */
  kept: Seconds;
  /** Published over S3T. */
  ratio: { cpu: number; wall: number };
  predicted: LayerPasses;
  /** Measured ratio over the predicted one, by seconds of all cores. */
  reached: number;
  /** Whether every stage had the same bytes under both schedules: then every accuracy is the same, too. */
  identical: boolean;
}

type Line = ScheduleLine | { shard: number; kept: Seconds };

/**
 * The whole S3T run beside the public code's schedule on this engine: every sequence from scratch, no shared prefixes, all layers forwards in
 * every step, no kept activations but the embedding's. Same data, hyper-parameters, kernels and keys, stage by stage in turns, so that
 * what else the machine does meets both.
 */
export async function compareSchedules(o: ScheduleOptions): Promise<ScheduleComparison> {
  const located = await readConfig(o.config);
  const prepared = await prepareRun(o.device, located);
  const bench = await layOut(located, prepared);
  const { config } = located;
  const shards = Math.min(o.shards ?? config.shards, config.shards);
  await mkdir(o.out, { recursive: true });
  const journal = new Journal<Line>(join(o.out, 'schedules.jsonl'));
  const known = await journal.read();
  const total = shards * prepared.sequences.length * config.slices;
  const ids = new Set(bench.plan.map(({ id }) => id));
  const lines: Line[] = [];
  let done = 0;
  const perShard = prepared.sequences.length * config.slices + 1;
  for (let shard = 0; shard < shards; shard++) {
    // The last ones: whoever was killed while a shard's were written down has measured it again.
    const earlier = known.filter((line) => line.shard === shard).slice(-perShard);
    // A shard's stages stand on one another: one that was stopped half-way is measured again, and so is one of other kernels.
    const isSame = earlier.every((line) => 'kept' in line || ids.has(line.stage));
    const isWhole = earlier.length === perShard && 'kept' in earlier[0]!;
    if (isSame && isWhole)
      for (const line of earlier) {
        lines.push(line);
        if (!('kept' in line)) o.onStage?.(line, ++done, total);
      }
    else {
      const measured = await compareShard(o, bench, config, shard, (line) => {
        o.onStage?.(line, ++done, total);
      });
      await journal.add(...measured);
      lines.push(...measured);
    }
  }
  return conclude(lines, bench, shards);
}

async function compareShard(
  { signal, out }: Pick<ScheduleOptions, 'signal' | 'out'>,
  bench: Bench,
  config: StageContext['config'],
  shard: number,
  onStage: (line: ScheduleLine) => void,
): Promise<Line[]> {
  const { prepared, groups, plan, records } = bench;
  const { base, form, sequences } = prepared;
  const all = records[shard]!.flat();
  const lowest = groups.map((group) => Math.min(...group));
  const keep = (layers: readonly number[], records = all) =>
    KeptActivations.compute({ base, records, layers, config, folder: out, signal });
  // Once for nothing: its kernels are compiled, too.
  (await keep(lowest, all.slice(0, 1))).clear();
  const { result: kept, seconds } = await timed(() => keep(lowest));
  const embedded = await keep([0]);
  await warmUp(bench, config, shard, { kept, embedded });
  const lines: Line[] = [{ shard, kept: seconds }];
  const trained = new Map<string, StageValues>();
  let isOursFirst = true;
  for (const [sequence, order] of sequences.entries())
    for (let position = 0; position < order.length; position++) {
      const stage = plan.find(
        (one) => one.shard === shard && one.position === position && one.sequences.includes(sequence),
      )!;
      const parent = plan.find((one) => one.shard === shard && one.id === stage.parent);
      const context = {
        base,
        form,
        config,
        meter: bench.meter,
        prefix: parent ? chainOf(bench, parent, trained) : [],
        records: recordsOf(bench, stage),
      };
      const ours = () => timed(() => workStage({ ...context, activations: kept }, stage, () => {}, signal));
      const theirs = () =>
        timed(() => workStage({ ...context, activations: embedded, from: 0 }, stage, () => {}, signal));
      const isNew = !trained.has(stage.id);
      const early = isNew && isOursFirst ? await ours() : null;
      const published = await theirs();
      const s3t = isNew ? (early ?? (await ours())) : null;
      if (s3t) {
        trained.set(stage.id, s3t.result.values);
        isOursFirst = !isOursFirst;
      }
      const line: ScheduleLine = {
        ...{ shard, sequence, position, stage: stage.id, records: context.records.length },
        s3t: s3t?.seconds ?? null,
        published: published.seconds,
        identical: s3t ? Buffer.from(s3t.result.bytes).equals(published.result.bytes) : null,
      };
      lines.push(line);
      onStage(line);
    }
  kept.clear();
  embedded.clear();
  return lines;
}

/** Trains one batch of every group both ways and throws it away: kernels are compiled once, and no schedule shall pay for the other. */
async function warmUp(
  bench: Bench,
  config: StageContext['config'],
  shard: number,
  { kept, embedded }: { kept: KeptActivations; embedded: KeptActivations },
): Promise<void> {
  const { base, form } = bench.prepared;
  const records = bench.records[shard]!.flat().slice(0, config.training.batchSize);
  const short = { ...config, training: { ...config.training, epochs: 1 } };
  for (const stage of bench.plan.slice(0, bench.groups.length)) {
    const prefix = bench.groups.slice(0, stage.position).map((layers) => ({
      layers,
      values: startStage(form, layers, [0, 0], null),
    }));
    const context = { base, form, config: short, meter: bench.meter, prefix, records };
    await workStage({ ...context, activations: kept }, stage, () => {});
    await workStage({ ...context, activations: embedded, from: 0 }, stage, () => {});
  }
}

function conclude(lines: readonly Line[], { prepared, groups }: Bench, shards: number): ScheduleComparison {
  const kept = sum(lines.flatMap((line) => ('kept' in line ? [line.kept] : [])));
  const stages = lines.flatMap((line) => ('kept' in line ? [] : [line]));
  const own = stages.flatMap(({ s3t }) => (s3t ? [s3t] : []));
  const seconds = { s3t: sum([kept, ...own]), published: sum(stages.map(({ published }) => published)) };
  const predicted = layerPasses({
    layers: prepared.form.architecture.layers,
    height: groups[0]!.length,
    sequences: prepared.sequences,
  });
  const cpu = seconds.published.cpu / seconds.s3t.cpu;
  return {
    shards,
    stages: { s3t: own.length, published: stages.length },
    seconds,
    kept,
    ratio: { cpu, wall: seconds.published.wall / seconds.s3t.wall },
    predicted,
    reached: cpu / predicted.ratio,
    identical: stages.every(({ identical }) => identical !== false),
  };
}
