import { join } from 'node:path';
import type { StageCosts } from '@s3t/algorithm';
import { withRun } from '../run-access.ts';

/** What planning takes from a run. */
export interface Measured {
  costs: StageCosts;
  /** Left out where the run has no evaluation data, is measured by an error, or nobody asks. */
  accuracyByDepth?: number[] | undefined;
}

/**
 * What the stages of a run cost, and how good its ensemble is by the depth that is served: as an experiment has measured it, or measured now on the
 * run's evaluation data. Of a correlation, what is below 0 counts as 0, which is what guessing gives.
 * @param from the folder of a run, or of an experiment
 */
export async function measuredOf(from: string, { accuracy }: { accuracy: boolean }): Promise<Measured> {
  // Only here: it brings the engine and the database, which a plan by numbers can do without.
  const { depthScores, resultsOf } = await import('@s3t/laboratory');
  const results = await resultsOf(from);
  const run = results ? join(from, 'run') : from;
  const costs = await withRun({ run }, (unlearner) => unlearner.costs());
  if (!accuracy) return { costs };
  const scores = results ? [results.nothing, ...results.byDepth] : (await depthScores(run))?.scores;
  return { costs, accuracyByDepth: scores?.map((score) => Math.max(0, score)) };
}
