import type { DataRecord } from '@s3t/data';
import type { BaseModel, Example } from '@s3t/model';
import type { RunConfig } from './config.ts';
import { exampleOf } from './examples.ts';
import { encodeAll, forward, meanRow } from './predict.ts';
import type { RightOfWay } from './right-of-way.ts';
import type { Serving } from './serving.ts';
import type { Evaluation } from './types.ts';

/** Measures the served ensemble, and each shard by itself, on the evaluation data. */
export async function evaluate(
  parts: { serving: Serving; erasures: RightOfWay; base: BaseModel; config: RunConfig },
  records: readonly DataRecord[],
): Promise<Evaluation> {
  const { base, config } = parts;
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
