import type { DataRecord } from '@s3t/data';
import type { BaseModel, Example } from '@s3t/model';
import { combine, meanRow } from './combine.ts';
import type { RunConfig } from './config.ts';
import { UnlearnerError } from './errors.ts';
import { exampleOf } from './examples.ts';
import { accuracy, f1, matthews, meanSquaredError, pearson, spearman } from './metrics.ts';
import { encodeAll, forward, nothingServed } from './predict.ts';
import type { RightOfWay } from './right-of-way.ts';
import type { Serving } from './serving.ts';
import { labelNumber, type MetricName, outputNames, TASKS } from './tasks.ts';
import type { Evaluation, Measures } from './types.ts';

/** Measures the served ensemble, and each shard by itself, on the evaluation data. */
export async function evaluate(
  parts: { serving: Pick<Serving, 'served'>; erasures: RightOfWay; base: BaseModel; config: RunConfig },
  records: readonly DataRecord[],
): Promise<Evaluation> {
  const { base, config } = parts;
  const { learns } = TASKS[config.task];
  if (learns === 'tokens') return foretell(parts, records);
  const metric = metricOf(config);
  const outputs = outputNames(config).length;
  const examples: Example[] = [];
  for (const record of records) examples.push(await exampleOf(record, config));
  const expected = records.map((record) => labelNumber(record, config));
  const { served, logits } = await forward(parts, encodeAll(base, examples), records.length);
  const measuresOf = (stacks: readonly Float32Array[]): Measures => {
    const said = expected.map((_, row) => {
      if (learns === 'number') return meanRow(stacks, row, 1)[0]!;
      return combine(stacks, row, outputs, config.ensemble)[0]!.label;
    });
    return measures(said, expected, { learns, metric, classes: outputs });
  };
  return {
    ...measuresOf(logits),
    metric,
    examples: records.length,
    version: served.version,
    shards: served.depths.map((shard, i) => ({ ...shard, ...measuresOf([logits[i]!]) })),
  };
}

/** The measure that counts: what the configuration asks for, or what the task is usually measured with. */
export function metricOf({ task, evaluation }: RunConfig): MetricName {
  return evaluation?.metric ?? TASKS[task].metrics[0];
}

/** Answers held against labels: classes by number, or numbers. */
export function measures(
  said: readonly number[],
  expected: readonly number[],
  { learns, metric, classes }: { learns: 'class' | 'number'; metric: MetricName; classes: number },
): Measures {
  if (learns === 'number')
    return {
      pearson: pearson(said, expected),
      spearman: spearman(said, expected),
      meanSquaredError: meanSquaredError(said, expected),
    };
  return {
    accuracy: accuracy(said, expected),
    ...(metric === 'matthews' && { matthews: matthews(said, expected) }),
    ...(metric === 'f1' && { f1: f1(said, expected, classes) }),
  };
}

/** How well a language model foretells the evaluation data, token by token. */
async function foretell(
  { serving, erasures, base, config }: Parameters<typeof evaluate>[0],
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
      metric: metricOf(config),
      examples: records.length,
      version: served.version,
      shards: served.depths.map((shard, i) => ({ ...shard, ...measures[i]! })),
    };
  }
}
