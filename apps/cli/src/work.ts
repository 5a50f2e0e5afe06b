import type { TrainingSummary, Unlearner } from '@s3t/unlearner';
import { Interrupted } from './errors.ts';
import type { Interrupts } from './interrupt.ts';
import { duration, plural, short } from './terminal/format.ts';
import { print, printJson } from './terminal/print.ts';
import { WorkProgress } from './work-progress.ts';

/** What `train --json` and `repair --json` print. */
export interface WorkResult extends TrainingSummary {
  version: number;
  manifest: string;
  /** Stages that are still missing: some, if erasures came in between. */
  missing: number;
}

/** What Ctrl-C is answered with while stages are trained. */
export const STOP_NOTE = 'stopping after this step; Ctrl-C again stops at once';

/**
 * Trains what a run lacks, with progress on stderr.
 *
 * @throws Interrupted when told to stop: what was trained is kept
 */
export async function trainMissing(
  unlearner: Unlearner,
  label: 'train' | 'repair',
  interrupts: Interrupts,
): Promise<WorkResult> {
  const progress = new WorkProgress(label);
  const stop = unlearner.on(progress.show);
  let summary: TrainingSummary | undefined;
  try {
    summary = await unlearner[label]({ signal: interrupts.signal });
  } catch (error) {
    // Whatever the abort looks like from inside, it is our doing.
    if (!interrupts.signal.aborted) throw error;
  } finally {
    stop();
    progress.clear();
  }
  const { version, manifest, missing, shards } = await unlearner.status();
  if (summary !== undefined && (missing === 0 || !interrupts.signal.aborted)) {
    return { ...summary, version, manifest, missing };
  }
  const stages = new Set(
    shards.flatMap((shard) =>
      shard.sequences.flatMap((sequence) => sequence.stages.map(({ stage }) => stage)),
    ),
  );
  throw new Interrupted(
    interrupts.received ?? 'SIGINT',
    `stopped: ${stages.size - missing} of ${plural(stages.size, 'stage')} are trained and kept; the same command goes on from there`,
  );
}

export function printWork(result: WorkResult, { run, json }: { run: string; json?: boolean }): void {
  if (json) {
    printJson(result);
    return;
  }
  const { trained, superseded, seconds, version, manifest } = result;
  const did =
    trained === 0 ? 'nothing was missing' : `${plural(trained, 'stage')} trained in ${duration(seconds)}`;
  const dropped = superseded === 0 ? '' : `, ${superseded} dropped because of erasures meanwhile`;
  print(`${run}: ${did}${dropped}; version ${version}, manifest ${short(manifest)}`);
}
