import { targetsOf } from '@s3t/model';
import { UnlearnerError } from './errors.ts';
import type { OpenedRun } from './open-run.ts';
import type { RunCosts } from './types.ts';

const FLOAT_BYTES = 4;

/**
 * What stages of a run cost, as the planner wants it: their bytes by the run's form, their time by the log. The time of a stage is that between its
 * publication and the one before; of each position the median, so that pauses and the activations of a shard, which its first stage waits
 * for, do not count where a position was trained more than twice.
 * @throws UnlearnerError `usage` when a position was not trained yet
 */
export async function costsOf({ form, ledger, located }: OpenedRun): Promise<RunCosts> {
  const { architecture, lora, outputs } = form;
  const size = (shape: readonly number[]) => shape.reduce((product, extent) => product * extent, FLOAT_BYTES);
  const targets = targetsOf(architecture, lora);
  const stages = (await ledger.stages()).sort((a, b) => a.publishedAt - b.publishedAt);
  const times = Array.from({ length: located.config.slices }, (): number[] => []);
  stages.forEach(({ position, records, publishedAt }, i) => {
    const before = stages[i - 1];
    if (before && records > 0) times[position]!.push((publishedAt - before.publishedAt) / 1000 / records);
  });
  const missing = times.findIndex((some) => some.length === 0);
  if (missing >= 0)
    throw new UnlearnerError('usage', `no stage at position ${missing} was trained yet: train the run first`);
  return {
    layers: architecture.layers,
    layerBytes: targets.reduce((sum, target) => sum + size([lora.rank, target.inputs + target.outputs]), 0),
    headBytes: architecture.headParameters(outputs).reduce((sum, { shape }) => sum + size(shape), 0),
    secondsPerRecord: times.map(median),
  };
}

function median(values: number[]): number {
  values.sort((a, b) => a - b);
  const middle = values.length >> 1;
  return values.length % 2 === 1 ? values[middle]! : (values[middle - 1]! + values[middle]!) / 2;
}
