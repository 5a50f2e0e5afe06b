import { logitConfidence } from '@s3t/algorithm';
import type { DataRecord } from '@s3t/data';
import { copyInputs, hostInputs } from '@s3t/model';
import { lend } from './comparisons.ts';
import { UnlearnerError } from './errors.ts';
import { exampleOf } from './examples.ts';
import type { OpenedRun } from './open-run.ts';
import { encodeAll } from './predict.ts';
import type { RightOfWay } from './right-of-way.ts';
import type { Serving } from './serving.ts';
import { stacksOf } from './setting.ts';

/** A prefix that the run holds, and how sure it is of the labels of records: log odds, in their order. */
export interface StackConfidences {
  shard: number;
  sequence: number;
  depth: number;
  /** Its last stage, whose head answers. */
  stage: string;
  confidences: Float64Array;
}

/** Stacks that run side by side: more take memory, and gain nothing where the device is full. */
const AT_ONCE = 8;

/**
 * How sure the stacks of a run are of the labels of records: those that are served, or every active prefix of every sequence.
 * @param signal aborted by an erasure: the stages may be gone then
 * @throws UnlearnerError `usage` for a task without labels
 */
export async function stackConfidences(
  { opened, serving, erasures }: { opened: OpenedRun; serving: Serving; erasures: RightOfWay },
  records: readonly DataRecord[],
  which: 'served' | 'all',
  signal: AbortSignal,
): Promise<StackConfidences[]> {
  const { base, located, ledger, run } = opened;
  const { config } = located;
  const { labels } = config.data;
  if (labels.length === 0) throw new UnlearnerError('usage', `audit: ${config.task} has no labels to go by`);
  const active = await ledger.activeStages();
  const stacks =
    which === 'served'
      ? stacksOf(active, run.sequences, config.shards)
          .filter(({ depth }) => depth > 0)
          .map(({ shard, sequence, stages }) => ({ shard, sequence: sequence!, stages: [...stages] }))
      : prefixesOf(active, run.sequences, config.shards);
  const fields = base.network.architecture.inputs;
  const results: StackConfidences[] = [];
  // Those of one depth: their streams leave the trunk together.
  const depths = [...new Set(stacks.map(({ stages }) => stages.length))].sort((a, b) => a - b);
  for (const depth of depths) {
    const level = stacks.filter(({ stages }) => stages.length === depth);
    for (let from = 0; from < level.length; from += AT_ONCE) {
      const some = level.slice(from, from + AT_ONCE);
      signal.throwIfAborted();
      const ensemble = serving.ensembleOf(some);
      using _lent = lend(ensemble, signal);
      const found = some.map(() => new Float64Array(records.length));
      try {
        for (let first = 0; first < records.length; first += ensemble.largestBatch) {
          const batch = records.slice(first, first + ensemble.largestBatch);
          const examples = [];
          for (const record of batch) examples.push(await exampleOf(record, config));
          const inputs = hostInputs(fields, batch.length);
          copyInputs(fields, encodeAll(base, examples), 0, batch.length, inputs, 0);
          await erasures.clear();
          signal.throwIfAborted();
          const logits = await ensemble.forward(inputs, batch.length);
          batch.forEach(({ label }, row) => {
            const number = labels.indexOf(label!);
            logits.forEach((values, stack) => {
              const own = values.subarray(row * labels.length, (row + 1) * labels.length);
              found[stack]![first + row] = logitConfidence(own, number);
            });
          });
        }
      } catch (error) {
        signal.throwIfAborted();
        throw error;
      }
      some.forEach(({ shard, sequence, stages }, i) => {
        results.push({ shard, sequence, depth, stage: stages.at(-1)!, confidences: found[i]! });
      });
    }
  }
  return results;
}

/** Every active prefix, each once: sequences that share one count as the first of them. */
function prefixesOf(
  active: readonly { id: string; shard: number; position: number; sequences: readonly number[] }[],
  sequences: readonly number[][],
  shards: number,
): { shard: number; sequence: number; stages: string[] }[] {
  const found = new Map<string, { shard: number; sequence: number; stages: string[] }>();
  for (let shard = 0; shard < shards; shard++)
    for (const [sequence, order] of sequences.entries()) {
      const stages: string[] = [];
      for (let position = 0; position < order.length; position++) {
        const stage = active.find(
          (one) => one.shard === shard && one.position === position && one.sequences.includes(sequence),
        );
        if (!stage) break;
        stages.push(stage.id);
        const key = `${shard}/${stage.id}`;
        if (!found.has(key)) found.set(key, { shard, sequence, stages: [...stages] });
      }
    }
  return [...found.values()];
}
