import type { Device } from '@s3t/engine';
import { adapterGroups, type StageTask, trainStage, trainStages } from '@s3t/model';
import { formOf, GROUPS, randomVit, SIZE } from './base.ts';
import { interleaved, type ModelRow, ratioOf } from './report.ts';

const STAGES = 4;
const RECORDS = 64;
const BATCH = 16;
const EPOCHS = 3;

/** First stages of several sequences, trained one after the other and in one batch: the same bytes, what is the base's own computed once for all. */
export async function measureTogether(device: Device, rounds: number): Promise<ModelRow[]> {
  const rows: ModelRow[] = [];
  for (const width of [64, SIZE.hidden_size]) {
    const base = await randomVit(device, {
      ...SIZE,
      ...{ hidden_size: width, intermediate_size: 4 * width, num_attention_heads: width / 32 },
    });
    const form = formOf(base);
    const layers = adapterGroups(SIZE.num_hidden_layers, GROUPS)[0]!;
    const { tokens } = form.architecture;
    const kept = Float32Array.from({ length: RECORDS * tokens * width }, (_, i) => Math.sin(i));
    const shared: Omit<StageTask, 'key'> = {
      ...{ form, layers, prefix: [], records: RECORDS },
      training: {
        ...{ epochs: EPOCHS, batchSize: BATCH, learningRate: 1e-3, weightDecay: 0.01 },
        ...{ schedule: 'constant', warmup: 0, clipNorm: null },
      },
      activation: (record, target) =>
        target.set(kept.subarray(record * tokens * width, (record + 1) * tokens * width)),
      labels: Uint32Array.from({ length: RECORDS }, (_, i) => i % form.outputs),
      order: () => Uint32Array.from({ length: RECORDS }, (_, i) => i),
    };
    const tasks = Array.from({ length: STAGES }, (_, i): StageTask => ({ ...shared, key: [1, i] }));
    const alone = async () => {
      for (const task of tasks) await trainStage(base, task);
    };
    const together = () => trainStages(base, tasks);
    await alone();
    await together();
    const [one, all] = await interleaved(rounds, [alone, together]);
    const { ratio, by } = ratioOf(one!, all!);
    rows.push({
      what: `${STAGES} first stages in one batch, width ${width}`,
      ...{ ms: all!.ms, reference: 'one after the other', referenceMs: one!.ms },
      ...{ ratio, aim: 1, atLeast: true },
      note: `${by}; ${layers.length} of ${SIZE.num_hidden_layers} layers, ${tokens} tokens, ${STAGES} x ${BATCH} rows`,
    });
  }
  return rows;
}
