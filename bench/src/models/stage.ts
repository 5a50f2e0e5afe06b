import type { Device } from '@s3t/engine';
import { adapterGroups, type BaseModel, BasePass, type HostInputs, trainStage } from '@s3t/model';
import { formOf, GROUPS, randomVit, SIZE } from './base.ts';
import { type Cost, interleaved, type ModelRow, ratioOf } from './report.ts';

const RECORDS = 32;
const BATCH = 16;

/**
 * An epoch of stage 1, the top two of twelve layers, on kept activations, beside the same epoch with all layers run for every
 * batch, as without them: the trunk's activations are computed again and handed to the same training.
 */
export async function measureStage(device: Device, rounds: number): Promise<ModelRow[]> {
  const base = await randomVit(device, SIZE);
  const form = formOf(base);
  const layers = adapterGroups(SIZE.num_hidden_layers, GROUPS)[0]!;
  const lowest = Math.min(...layers);
  const inputs = Array.from({ length: RECORDS }, (_, i) => pictureOf(base, i));
  const { tokens, width } = form.architecture;
  const pass = new BasePass(base, [lowest], BATCH);
  const computed = async (records: readonly number[]) =>
    (await pass.run(records.map((record) => inputs[record]!)))[0]!;
  const kept = new Float32Array(RECORDS * tokens * width);
  for (let from = 0; from < RECORDS; from += BATCH)
    kept.set(await computed(Array.from({ length: BATCH }, (_, i) => from + i)), from * tokens * width);
  const rowOf = (rows: Float32Array, at: number) =>
    rows.subarray(at * tokens * width, (at + 1) * tokens * width);
  /** Epochs of one training: what a stage takes to begin and to end is in none of them. */
  const train = (epochs: number, isKept: boolean) => {
    let batch: { rows: Float32Array; records: readonly number[] } = { rows: kept, records: [] };
    return trainStage(base, {
      form,
      training: {
        epochs,
        batchSize: BATCH,
        learningRate: 1e-3,
        weightDecay: 0.01,
        schedule: 'constant',
        warmup: 0,
        clipNorm: null,
      },
      key: [1, 2],
      layers,
      prefix: [],
      records: RECORDS,
      prepare: async (records) => {
        if (!isKept) batch = { rows: await computed(records), records };
      },
      activation: (record, target) =>
        target.set(isKept ? rowOf(kept, record) : rowOf(batch.rows, batch.records.indexOf(record))),
      labels: Uint32Array.from({ length: RECORDS }, (_, i) => i % form.outputs),
      order: () => Uint32Array.from({ length: RECORDS }, (_, i) => i),
    });
  };
  await train(1, true);
  await train(1, false);
  const EPOCHS = 3;
  const [one, many, oneAll, manyAll] = (await interleaved(rounds, [
    () => train(1, true),
    () => train(1 + EPOCHS, true),
    () => train(1, false),
    () => train(1 + EPOCHS, false),
  ])) as [Cost, Cost, Cost, Cost];
  pass.dispose();
  const epoch = (all: Cost, first: Cost): Cost => ({
    ms: (all.ms - first.ms) / EPOCHS,
    deviceMs:
      all.deviceMs === null || first.deviceMs === null ? null : (all.deviceMs - first.deviceMs) / EPOCHS,
  });
  const [withKept, withAll] = [epoch(many, one), epoch(manyAll, oneAll)];
  const { ratio, by } = ratioOf(withAll, withKept);
  return [
    {
      what: `stage 1, ${layers.length} of ${SIZE.num_hidden_layers} layers, an epoch`,
      ms: withKept.ms,
      reference: 'all layers in every step',
      referenceMs: withAll.ms,
      ratio,
      aim: 3,
      atLeast: true,
      note: `${by}; ViT, width ${SIZE.hidden_size}, ${tokens} tokens, LoRA of rank 16 on query and value, batches of ${BATCH}`,
    },
  ];
}

function pictureOf({ encode }: BaseModel, number: number): HostInputs {
  const side = SIZE.image_size;
  const pixels = Uint8Array.from({ length: side * side * 3 }, (_, i) => (i * 31 + number * 17) % 256);
  return encode({ image: { width: side, height: side, channels: 3, pixels } });
}
