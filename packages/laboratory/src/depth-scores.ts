import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeStage, type StageValues } from '@s3t/model';
import { groupsOf, metricOf, openRun } from '@s3t/unlearner/parts';
import { LaboratoryError } from './errors.ts';
import type { ExperimentResult } from './experiment.ts';
import { openScorer } from './scorer.ts';
import type { Bench } from './stages.ts';

/** How good the ensemble of a run is by the depth that its shards serve. */
export interface DepthScores {
  metric: string;
  /** Of the evaluation data. */
  examples: number;
  /** [slices + 1], from nothing served, which counts as guessing, to everything. */
  scores: number[];
}

/**
 * Measures a run on its evaluation data at every depth: all shards cut back to as many stages of their first whole sequence. Nothing is trained.
 * @returns null where the run has no evaluation data, or is measured by an error, which falls where it gets better
 * @throws LaboratoryError where a shard has no whole sequence; UnlearnerError as opening the run
 */
export async function depthScores(run: string): Promise<DepthScores | null> {
  const opened = await openRun({ run });
  const { ledger, located, form, device } = opened;
  try {
    const { config } = located;
    if (config.data.eval === undefined || metricOf(config) === 'meanSquaredError') return null;
    const groups = groupsOf(form, config);
    const active = await ledger.activeStages();
    const chains = Array.from({ length: config.shards }, (_, shard) => {
      const own = active.filter((stage) => stage.shard === shard);
      for (const sequence of opened.run.sequences.keys()) {
        const chain = own.filter(({ sequences }) => sequences.includes(sequence));
        if (chain.length === config.slices) return chain.sort((a, b) => a.position - b.position);
      }
      throw new LaboratoryError(
        'usage',
        `${run}: shard ${shard} serves no whole sequence: repair the run first`,
      );
    });
    const plan = chains.flat().map((stage) => ({ ...stage, lineage: stage.lineage as string[] }));
    const values = new Map<string, StageValues>();
    for (const { id, position, weights } of plan) {
      const file = (await ledger.adapters.get(weights)) as Uint8Array<ArrayBuffer>;
      values.set(id, decodeStage(file, form, groups[position]!, ledger.adapters.path(weights)));
    }
    const prepared = { ...opened, sequences: opened.run.sequences, records: [] };
    const bench: Bench = { prepared, groups, records: [], plan, meter: null };
    const scorer = await openScorer(located, bench, values);
    const scores = [scorer.nothing];
    for (let depth = 1; depth <= config.slices; depth++)
      scores.push(await scorer.score(chains.map((chain) => chain[depth - 1]!.slices)));
    return { metric: scorer.metric, examples: scorer.examples, scores };
  } finally {
    await ledger.close();
    if (opened.ownsDevice) device.close();
  }
}

/** What an experiment measured, by its folder; null where the folder holds no results. */
export async function resultsOf(folder: string): Promise<ExperimentResult | null> {
  const file = join(folder, 'results.json');
  const text = await readFile(file, 'utf8').catch(() => null);
  if (text === null) return null;
  try {
    return JSON.parse(text) as ExperimentResult;
  } catch {
    throw new LaboratoryError('data', `${file}: is not valid JSON: run the experiment again`);
  }
}
