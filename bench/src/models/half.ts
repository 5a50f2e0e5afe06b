import type { Device } from '@s3t/engine';
import { type BaseModel, type StageTask, trainStage } from '@s3t/model';
import { formOf, randomVit, SIZE } from './base.ts';
import { interleaved, type ModelRow, ratioOf } from './report.ts';

const RECORDS = 32;
const BATCH = 16;
const EPOCHS = 3;

/** Training of all layers with activations stored as f16 (`training.activations`) beside f32: its time, and what a captured step holds. */
export async function measureHalf(device: Device, rounds: number): Promise<ModelRow[]> {
  const bases = [await randomVit(device, SIZE), await randomVit(device, SIZE, { activations: 'f16' })];
  const form = formOf(bases[0]!);
  const { tokens, width } = form.architecture;
  const task: StageTask = {
    ...{ form, prefix: [], records: RECORDS, key: [1, 2] },
    layers: Array.from({ length: SIZE.num_hidden_layers }, (_, i) => i),
    training: {
      ...{ epochs: EPOCHS, batchSize: BATCH, learningRate: 1e-3, weightDecay: 0.01 },
      ...{ schedule: 'constant', warmup: 0, clipNorm: null },
    },
    activation: (record, target) => {
      for (let i = 0; i < target.length; i++) target[i] = Math.sin(record * tokens * width + i);
    },
    labels: Uint32Array.from({ length: RECORDS }, (_, i) => i % form.outputs),
    order: () => Uint32Array.from({ length: RECORDS }, (_, i) => i),
  };
  const held: number[] = [];
  for (const base of bases) held.push(await heldBytes(device, base, task));
  const [full, half] = await interleaved(
    rounds,
    bases.map((base) => () => trainStage(base, task)),
  );
  const { ratio, by } = ratioOf(half!, full!);
  const [fullBytes, halfBytes] = held.map((bytes) => (bytes / 1e6).toFixed(1));
  return [
    {
      what: `activations as f16, ${EPOCHS} epochs`,
      ...{ ms: half!.ms, reference: 'as f32', referenceMs: full!.ms, ratio, aim: null, atLeast: false },
      note: `${by}; a step holds ${halfBytes} MB instead of ${fullBytes}, ${(held[1]! / held[0]!).toFixed(2)}x; ViT, width ${width}, all ${SIZE.num_hidden_layers} layers, ${BATCH} x ${tokens} tokens`,
    },
  ];
}

/** What the device holds while a stage is trained that it does not hold before: the captured step, parameters and moments. */
async function heldBytes(device: Device, base: BaseModel, task: StageTask): Promise<number> {
  const bytesNow = () => device.memory().liveBytes;
  // The first training makes the texture forms of the base, which stay.
  await trainStage(base, task);
  const before = bytesNow();
  let most = 0;
  await trainStage(base, task, () => {
    most = Math.max(most, bytesNow());
  });
  return most - before;
}
