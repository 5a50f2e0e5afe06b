import { Device, scope, tensor } from '@s3t/engine';
import { beforeAll, describe, expect, it } from 'vitest';
import { baseActivations } from './activations.ts';
import type { StageTask } from './stage-training.ts';
import {
  base,
  bytesOf,
  device,
  drawPicture,
  LABELS,
  PREFIX,
  RECORDS,
  rowOf,
  second,
  taskOf,
  useTinyBase,
} from './testing/stage-tasks.ts';
import { FORM, PICTURE, poisonPools, ROW, randomStage, sameBits, tinyBase } from './testing/tiny.ts';

useTinyBase();

describe('the bytes of a stage', () => {
  let first: Buffer;
  let below: Buffer;
  beforeAll(async () => {
    first = await bytesOf(taskOf());
    below = await bytesOf(second());
  });

  it('are the same every time, on a crowded and dirty device and on a fresh one', async () => {
    await poisonPools(device, base);
    // Memory that shifts every later allocation to other buffers.
    const crowd = [3, 100, 5000].map((size) => tensor(device, new Float32Array(size).fill(7)));
    expect((await bytesOf(taskOf())).equals(first)).toBe(true);
    expect((await bytesOf(second())).equals(below)).toBe(true);
    for (const one of crowd) one.dispose();
    const fresh = await Device.open();
    expect((await bytesOf(second(), await tinyBase(fresh))).equals(below)).toBe(true);
    fresh.close();
  });

  it('are the same when another stage trains at the same time', async () => {
    const [a, b] = await Promise.all([bytesOf(taskOf()), bytesOf(second())]);
    expect(a.equals(first)).toBe(true);
    expect(b.equals(below)).toBe(true);
  });

  it('do not depend on what the rows of padding held before', async () => {
    const untidy = taskOf();
    const leaving: StageTask = {
      ...untidy,
      activation: (record, target) => {
        untidy.activation(record, target);
        // Left in the rows behind, as a former, fuller batch leaves its own; NaN would survive a weight of zero.
        new Float32Array(target.buffer, target.byteOffset + target.byteLength).fill(Number.NaN);
      },
    };
    expect((await bytesOf(leaving)).equals(first)).toBe(true);
  });

  it('do not depend on whether activations are kept or computed again by the bare base, in any batch', async () => {
    /** What enters `layer` for the given records, as one eager batch. */
    const recomputed = async (layer: number, records: readonly number[]) => {
      const pixels = new Float32Array(records.length * PICTURE);
      for (const [at, record] of records.entries()) pixels.set(drawPicture(record).pixels!, at * PICTURE);
      const rows = scope(() => {
        let x = base.network.embed({ pixels: tensor(device, pixels, [records.length, 3, 8, 8]) });
        for (let i = 0; i < layer; i++) x = base.network.layer(i, x, { inputs: {} });
        return x;
      });
      const values = await rows.read();
      rows.dispose();
      return values;
    };
    const batches = [[0], [10], [3, 0, 7], [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0], [5, 5, 5, 5, 5, 5, 5, 5]];
    for (const layer of [3, 2, 1])
      for (const records of batches) {
        const values = await recomputed(layer, records);
        for (const [at, record] of records.entries()) {
          const same = sameBits(values.subarray(at * ROW, (at + 1) * ROW), rowOf(layer, record));
          expect([layer, records, record, same]).toEqual([layer, records, record, true]);
        }
      }
    // A stage whose every batch is computed anew, in the order it is trained in.
    const order = second().order(0) as number[];
    const again = await recomputed(2, order);
    const activation: StageTask['activation'] = (record, target) => {
      const at = order.indexOf(record);
      target.set(again.subarray(at * ROW, (at + 1) * ROW));
    };
    expect((await bytesOf(second({ activation }))).equals(below)).toBe(true);
  });

  it('do not depend on how many pictures the activations were computed with', async () => {
    // 70 pictures go through in a full batch and a partial one; picture 66 is picture 0 again.
    const many = await baseActivations(base, 70, drawPicture, [1, 3]);
    for (const layer of [1, 3])
      for (let i = 0; i < 70; i++) {
        const row = many.get(layer)!.subarray(i * ROW, (i + 1) * ROW);
        expect([i, sameBits(row, rowOf(layer, i % RECORDS))]).toEqual([i, true]);
      }
  });

  it('change with key, order, labels, activations, prefix, configuration and base', async () => {
    const training = second().training;
    const other = randomStage([3], 32);
    // The same head above other adapters, and another head above the same adapters.
    const otherAdapters = new Map([
      ...other,
      ...[...PREFIX[0]!.values].filter(([name]) => name.includes('classifier')),
    ]);
    const otherHead = new Map([
      ...PREFIX[0]!.values,
      ...[...other].filter(([name]) => name.includes('classifier')),
    ]);
    const form = second().form;
    const changed: Record<string, StageTask> = {
      'low key word': second({ key: [1235, 5678] }),
      'high key word': second({ key: [1234, 5679] }),
      'order of an epoch': second({ order: (epoch) => taskOf().order(epoch === 2 ? 0 : epoch) }),
      'a label': second({ labels: LABELS.with(4, (LABELS[4]! + 1) % 3) }),
      'an activation': second({
        activation: (record, target) => {
          second().activation(record, target);
          if (record === 7) target[ROW - 1]! += 0.01;
        },
      }),
      'no prefix': second({ prefix: [] }),
      'adapters of the prefix': second({ prefix: [{ layers: [3], values: otherAdapters }] }),
      'head of the prefix': second({ prefix: [{ layers: [3], values: otherHead }] }),
      'learning rate': second({ training: { ...training, learningRate: 0.011 } }),
      'weight decay': second({ training: { ...training, weightDecay: 0.5 } }),
      schedule: second({ training: { ...training, schedule: 'cosine' } }),
      warmup: second({ training: { ...training, warmup: 0.5 } }),
      clipping: second({ training: { ...training, clipNorm: 1e-3 } }),
      'batch size': second({ training: { ...training, batchSize: 6 } }),
      'dropout rate': second({ form: { ...form, lora: { ...form.lora, dropout: 0.2 } } }),
      'no dropout': second({ form: FORM }),
      alpha: second({ form: { ...form, lora: { ...form.lora, alpha: 9 } } }),
      targets: second({ form: { ...form, lora: { ...form.lora, targets: ['query', 'key', 'value'] } } }),
    };
    const digests = new Map([[below.toString('base64'), 'unchanged']]);
    for (const [name, task] of Object.entries(changed)) {
      // Where the form changes, the prefix is made anew so that it fits.
      const fits =
        task.form.lora.targets.length === 2
          ? task
          : { ...task, prefix: [{ layers: [3], values: randomStage([3], 31, task.form) }] };
      const bytes = (await bytesOf(fits)).toString('base64');
      expect([name, digests.get(bytes)]).toEqual([name, undefined]);
      digests.set(bytes, name);
    }
    expect((await bytesOf(second(), await tinyBase(device, 2))).equals(below)).toBe(false);
  });

  it('are the same when the bare layers below run in every step', async () => {
    const activation = (record: number, target: Float32Array) => target.set(rowOf(1, record));
    const all = await bytesOf(taskOf({ from: 1, activation }));
    expect(all.equals(first)).toBe(true);
  });
});
