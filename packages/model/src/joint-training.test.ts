import { describe, expect, it } from 'vitest';
import { canTrainTogether, trainStages } from './joint-training.ts';
import { encodeStage } from './stage.ts';
import type { StageTask } from './stage-training.ts';
import { base, bytesOf, device, PREFIX, second, taskOf, useTinyBase } from './testing/stage-tasks.ts';
import { FORM, randomStage } from './testing/tiny.ts';

useTinyBase();

const bytesOfAll = async (tasks: readonly StageTask[]) =>
  (await trainStages(base, tasks)).map((values, i) => {
    const { form, layers } = tasks[i]!;
    return Buffer.from(encodeStage(form, layers, values));
  });

/** Stages that share their configuration, of different keys, records and prefixes. */
const beside = (make: (change: Partial<StageTask>) => StageTask, changes: readonly Partial<StageTask>[]) => {
  const { form, training } = make({});
  return changes.map((change) => make({ form, training, ...change }));
};
const few = { records: 5, order: (epoch: number) => [4, 3, 2, 1, 0].map((i) => (i + epoch) % 5) };

describe('stages trained in one batch', () => {
  it.each([
    ['first ones', taskOf, [{}, { key: [9, 9] as const, ...few }, { key: [7, 7] as const }]],
    [
      'on top of frozen ones that differ',
      second,
      [
        { key: [9, 9] as const, ...few },
        { key: [7, 7] as const, prefix: [{ layers: [3], values: randomStage([3], 5) }] },
      ],
    ],
    [
      'with clipped gradients, two layers each',
      (change: Partial<StageTask>) =>
        taskOf({ layers: [2, 3], from: 2, training: { ...taskOf().training, clipNorm: 0.05 }, ...change }),
      [{}, { key: [9, 9] as const }],
    ],
  ])('have the bytes that each has alone: %s', async (_, make, changes) => {
    const tasks = beside(make as (change: Partial<StageTask>) => StageTask, changes as Partial<StageTask>[]);
    expect(canTrainTogether(base, tasks)).toBe(true);
    const alone: Buffer[] = [];
    for (const task of tasks) alone.push(await bytesOf(task));
    expect(new Set(alone.map((bytes) => bytes.toString('hex'))).size).toBe(tasks.length);
    const together = await bytesOfAll(tasks);
    for (const [i, bytes] of together.entries()) expect(bytes.equals(alone[i]!), `stage ${i}`).toBe(true);
  });

  it('leave nothing on the device where they cannot be', async () => {
    await device.idle();
    const before = device.memory().liveBytes;
    const form = { ...FORM, lora: { ...FORM.lora, dropout: 2 } };
    const tasks = beside((change) => second({ form, ...change }), [{}, {}]);
    await expect(trainStages(base, tasks)).rejects.toThrow('dropout: rate 2 is not in [0, 1)');
    expect(device.memory().liveBytes).toBe(before);
    const short = new Map([...PREFIX[0]!.values].map(([name, values]) => [name, values.subarray(1)]));
    const misfits = beside(second, [{}, { prefix: [{ layers: [3], values: short }] }]);
    await expect(trainStages(base, misfits)).rejects.toThrow('tensor: ');
    expect(device.memory().liveBytes).toBe(before);
  });
});
