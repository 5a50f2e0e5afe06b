import type { DataRecord } from '@s3t/data';
import { type BaseModel, preprocess } from '@s3t/model';
import { forward, meanRow } from './predict.ts';
import type { RightOfWay } from './right-of-way.ts';
import type { Serving } from './serving.ts';
import type { Evaluation } from './types.ts';

/** Measures the served ensemble, and each shard by itself, on the evaluation data. */
export async function evaluate(
  parts: { serving: Serving; erasures: RightOfWay; base: BaseModel; labels: readonly string[] },
  records: readonly DataRecord[],
): Promise<Evaluation> {
  const { base, labels } = parts;
  const { channels, size } = base.preprocessing;
  const perPicture = channels * size.width * size.height;
  const pixels = new Float32Array(records.length * perPicture);
  for (const [i, record] of records.entries())
    preprocess(
      await record.image!(),
      base.preprocessing,
      pixels.subarray(i * perPicture, (i + 1) * perPicture),
    );
  const expected = records.map(({ label }) => labels.indexOf(label!));
  const { served, logits } = await forward(parts, pixels, records.length);
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
