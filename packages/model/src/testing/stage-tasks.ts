/** Stages of the tiny base to train in tests, and the float64 loss to hold them against. */
import { Device, uniformValues } from '@s3t/engine';
import { afterAll, beforeAll } from 'vitest';
import { baseActivations } from '../activations.ts';
import type { HostInputs } from '../architecture.ts';
import { loraScale } from '../lora.ts';
import type { BaseModel } from '../model.ts';
import { encodeStage } from '../stage.ts';
import { type StageProgress, type StageTask, trainStage } from '../stage-training.ts';
import { FORM, PICTURE, ROW, randomStage, TINY, tinyBase, tinyWeights, type Values } from './tiny.ts';
import { logitsReference, lossReference, type ReferenceAdapter, rowsOf } from './vit-reference.ts';

/** How many records a stage learns. */
export const RECORDS = 11;
const BATCH = 4;
export const LABELS: Uint32Array<ArrayBuffer> = Uint32Array.from({ length: RECORDS }, (_, i) => i % 3);

/** Picture `index`: noise around the mean of its class, so that there is something to learn. */
export function drawPicture(index: number): HostInputs {
  const noise = uniformValues(PICTURE, 1, [index % RECORDS, 21], 0);
  const shared = uniformValues(PICTURE, 1, [LABELS[index % RECORDS]!, 22], 0);
  return { pixels: noise.map((value, i) => shared[i]! + value) };
}

export let device: Device;
export let base: BaseModel;
/** What enters layers 3, 2 and 1, for every record. */
let kept: Map<number, Float32Array<ArrayBuffer>>;

/** Opens the device, the base and what it keeps before the tests of a file, and closes the device after them. */
export function useTinyBase(): void {
  beforeAll(async () => {
    device = await Device.open();
    base = await tinyBase(device);
    kept = await baseActivations(base, RECORDS, drawPicture, [3, 2, 1]);
  });
  afterAll(() => device.close());
}

/** What enters `layer` for one record, of [tokens, width]. */
export const rowOf = (layer: number, record: number): Float32Array<ArrayBuffer> =>
  kept.get(layer)!.subarray(record * ROW, (record + 1) * ROW);

/** The stage of layer 3, or with a prefix the next one below: three epochs of three batches, with dropout. */
export function taskOf(change: Partial<StageTask> = {}): StageTask {
  const layers = change.layers ?? [3];
  return {
    form: { ...FORM, lora: { ...FORM.lora, dropout: 0.1 } },
    training: {
      epochs: 3,
      batchSize: BATCH,
      learningRate: 0.01,
      weightDecay: 0.01,
      schedule: 'linear',
      warmup: 0.1,
      clipNorm: null,
    },
    key: [1234, 5678],
    layers,
    prefix: [],
    records: RECORDS,
    activation: (record, target) => target.set(rowOf(layers[0]!, record)),
    labels: LABELS,
    order: (epoch) => Array.from({ length: RECORDS }, (_, i) => (i * 3 + epoch) % RECORDS),
    ...change,
  };
}

/** A stage of layer 3, to train below. */
export const PREFIX: { layers: number[]; values: Values }[] = [{ layers: [3], values: randomStage([3], 31) }];
/** The stage of layer 2 below {@link PREFIX}. */
export const second = (change: Partial<StageTask> = {}): StageTask =>
  taskOf({ layers: [2], prefix: PREFIX, ...change });

/** Trains and returns the stage's file. */
export async function bytesOf(task: StageTask, on: BaseModel = base): Promise<Buffer> {
  return Buffer.from(encodeStage(task.form, task.layers, await trainStage(on, task)));
}

/** Trains without dropout and returns the losses that were read, by step, and the values. */
export async function lossesOf(task: StageTask): Promise<{ losses: Map<number, number>; values: Values }> {
  const losses = new Map<number, number>();
  const note = ({ step, loss }: StageProgress) => {
    if (loss !== null) losses.set(step, loss);
  };
  const values = await trainStage(base, { ...task, form: FORM }, note);
  return { losses, values };
}

/**
 * The float64 loss of some records of what enters `layer`, under the given adapters and head.
 * @param dropoutAt what an adapter sees in a row of the batch
 */
export function referenceLoss(
  layer: number,
  values: Values,
  records: readonly number[],
  dropoutAt?: (row: number) => ReferenceAdapter['dropout'],
): number {
  const weights = tinyWeights();
  const losses = records.map((record, row) => {
    const adapter = { values, scale: loraScale(FORM.lora), dropout: dropoutAt?.(row) };
    const entering = rowsOf(rowOf(layer, record), TINY.hidden_size);
    return lossReference(logitsReference(TINY, weights, layer, entering, adapter), LABELS[record]!);
  });
  return losses.reduce((a, b) => a + b, 0) / losses.length;
}

export const constantRate = (change: Partial<StageTask['training']>): StageTask['training'] => ({
  ...taskOf().training,
  schedule: 'constant',
  warmup: 0,
  ...change,
});
