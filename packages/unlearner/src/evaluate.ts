import type { DataRecord } from '@s3t/data';
import type { BaseModel, Example } from '@s3t/model';
import type { RunConfig } from './config.ts';
import { UnlearnerError } from './errors.ts';
import { exampleOf } from './examples.ts';
import { encodeAll, forward, meanRow, nothingServed } from './predict.ts';
import type { RightOfWay } from './right-of-way.ts';
import type { Serving } from './serving.ts';
import type { Evaluation } from './types.ts';

/** Measures the served ensemble, and each shard by itself, on the evaluation data. */
export async function evaluate(
  parts: { serving: Serving; erasures: RightOfWay; base: BaseModel; config: RunConfig },
  records: readonly DataRecord[],
): Promise<Evaluation> {
  const { base, config } = parts;
  if (config.task === 'causal-lm') return foretell(parts, records);
  const { labels } = config.data;
  const examples: Example[] = [];
  for (const record of records) examples.push(await exampleOf(record, config));
  const expected = records.map(({ label }) => labels.indexOf(label!));
  const { served, logits } = await forward(parts, encodeAll(base, examples), records.length);
  const accuracyOf = (stacks: readonly Float32Array[]) => {
    let right = 0;
    expected.forEach((label, row) => {
      const mean = meanRow(stacks, row, labels.length);
      if (mean.indexOf(Math.max(...mean)) === label) right++;
    });
    return right / records.length;
  };
  return {
    accuracy: accuracyOf(logits),
    examples: records.length,
    version: served.version,
    shards: served.depths.map(({ shard, depth }, i) => ({
      shard,
      depth,
      accuracy: accuracyOf([logits[i]!]),
    })),
  };
}

/** How well a language model foretells the evaluation data, token by token. */
async function foretell(
  {
    serving,
    erasures,
    base,
    config,
  }: { serving: Serving; erasures: RightOfWay; base: BaseModel; config: RunConfig },
  records: readonly DataRecord[],
): Promise<Evaluation> {
  const examples: Example[] = [];
  for (const record of records) examples.push(await exampleOf(record, config));
  const language = base.language!;
  for (;;) {
    await erasures.clear();
    const { served } = serving;
    if (!served) throw nothingServed();
    const totals = [...served.depths, null].map(() => ({ loss: 0, right: 0 }));
    let tokens = 0;
    for (const example of examples) {
      await erasures.clear();
      if (serving.served !== served) break;
      const next = language.nextTokens(example, config.training.learn ?? 'all');
      // Nothing of it is foretold: its response was cut off.
      if (!next.weights.some((weight) => weight > 0)) continue;
      const scores = await served.ensemble.tokenScores(base.encode(example), next);
      tokens += scores.tokens;
      for (const [i, { loss, right }] of [...scores.stacks, scores.ensemble].entries()) {
        totals[i]!.loss += loss * scores.tokens;
        totals[i]!.right += right;
      }
    }
    if (serving.served !== served) continue;
    if (tokens === 0)
      throw new UnlearnerError('data', `${config.data.eval}: no response fits into data.maxLength`);
    const measures = totals.map(({ loss, right }) => ({
      accuracy: right / tokens,
      perplexity: Math.exp(loss / tokens),
    }));
    return {
      ...measures.at(-1)!,
      examples: records.length,
      version: served.version,
      shards: served.depths.map((shard, i) => ({ ...shard, ...measures[i]! })),
    };
  }
}
