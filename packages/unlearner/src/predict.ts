import { type BaseModel, copyInputs, type Example, type HostInputs, hostInputs, recordOf } from '@s3t/model';
import { combine, meanRow } from './combine.ts';
import type { RunConfig } from './config.ts';
import { UnlearnerError } from './errors.ts';
import { exampleOfInput } from './examples.ts';
import type { RightOfWay } from './right-of-way.ts';
import type { Served, Serving } from './serving.ts';
import { outputNames, TASKS } from './tasks.ts';
import type { Input, Prediction } from './types.ts';

/** The logits of every served stack for a batch of records, and what computed them. */
export interface BatchLogits {
  served: Served;
  /** Per stack: [count, outputs]. */
  logits: readonly Float32Array[];
}

/** With erasures one after the other, answers still come. */
const MOST_GIVEN_UP = 3;

/**
 * Runs records through what is served; gives way to erasures. When that changes meanwhile, the result is thrown away and computed again.
 * @param inputs those of `count` records
 * @param least tokens that texts are padded to at least
 * @throws UnlearnerError `unavailable` when nothing is served
 */
export async function forward(
  { serving, erasures, base }: { serving: Pick<Serving, 'served'>; erasures: RightOfWay; base: BaseModel },
  inputs: HostInputs,
  count: number,
  least = 0,
): Promise<BatchLogits> {
  const { inputs: fields } = base.network.architecture;
  // Texts of about one length together: a batch is padded to its longest, which changes no answer.
  const lengths = Array.from({ length: count }, (_, i) => base.lengthOf(recordOf(inputs, i, count)));
  const order = [...lengths.keys()].sort((a, b) => lengths[a]! - lengths[b]!);
  let givenUp = 0;
  for (;;) {
    await erasures.clear();
    const { served } = serving;
    if (!served) throw nothingServed();
    const { ensemble } = served;
    const parts: Float32Array[][] = [];
    for (let from = 0; from < count; ) {
      await erasures.clear();
      if (serving.served !== served) break;
      const rows = Math.min(ensemble.largestBatch, count - from);
      const batch = hostInputs(fields, rows);
      for (let row = 0; row < rows; row++) copyInputs(fields, inputs, order[from + row]!, 1, batch, row);
      const signal = givenUp < MOST_GIVEN_UP ? erasures.next : undefined;
      try {
        parts.push(await ensemble.forward(batch, rows, { least, signal }));
        from += rows;
      } catch (error) {
        if (serving.served === served && !signal?.aborted) throw error;
        givenUp++;
      }
    }
    // Another ensemble took its place meanwhile: one answer never mixes two, and never comes from an erased one.
    if (serving.served === served) return { served, logits: joinParts(parts, order) };
  }
}

export function nothingServed(): UnlearnerError {
  return new UnlearnerError('unavailable', 'no shard has an active stage: train or repair the run first');
}

/** The logits of all records in their own order. @param order in which they were computed */
function joinParts(parts: readonly Float32Array[][], order: readonly number[]): Float32Array[] {
  return parts[0]!.map((_, stack) => {
    const values = parts.map((part) => part[stack]!);
    const joined = new Float32Array(values.reduce((sum, value) => sum + value.length, 0));
    const outputs = joined.length / order.length;
    let at = 0;
    for (const value of values)
      for (let from = 0; from < value.length; from += outputs)
        joined.set(value.subarray(from, from + outputs), order[at++]! * outputs);
    return joined;
  });
}

/** The inputs of the network for examples, one after the other. */
export function encodeAll(base: BaseModel, examples: readonly Example[]): HostInputs {
  const { inputs: fields } = base.network.architecture;
  const all = hostInputs(fields, examples.length);
  examples.forEach((example, i) => {
    copyInputs(fields, base.encode(example), 0, 1, all, i);
  });
  return all;
}

/** Answers a batch: the shards' answers combined as the configuration says, best label first. Of a regression the mean of their numbers. */
export async function predict(
  parts: { serving: Serving; erasures: RightOfWay; base: BaseModel; config: RunConfig },
  inputs: readonly Input[],
): Promise<Prediction> {
  const { base, config } = parts;
  const { learns } = TASKS[config.task];
  if (learns === 'tokens') throw new UnlearnerError('usage', 'inputs: this run continues texts');
  const names = outputNames(config);
  const examples = inputs.map((input, i) => exampleOfInput(input, config, `inputs.${i}`));
  const { served, logits } = await forward(parts, encodeAll(base, examples), inputs.length);
  const answers = inputs.map((_, row) => {
    if (learns === 'number') return [{ label: names[0]!, score: meanRow(logits, row, 1)[0]! }];
    const ranked = combine(logits, row, names.length, config.ensemble);
    return ranked.map(({ label, score }) => ({ label: names[label]!, score }));
  });
  return { version: served.version, manifest: served.manifest, stages: served.stages, answers };
}
