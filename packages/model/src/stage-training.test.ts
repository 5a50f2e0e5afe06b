import { empty, philox } from '@s3t/engine';
import { describe, expect, it } from 'vitest';
import { BasePass, baseActivations } from './activations.ts';
import { ModelError } from './errors.ts';
import { type StageValues, startStage } from './stage.ts';
import { type StageProgress, type StageTask, stageSteps, trainStage } from './stage-training.ts';
import {
  base,
  constantRate,
  device,
  drawPicture,
  LABELS,
  lossesOf,
  PREFIX,
  RECORDS,
  referenceLoss,
  rowOf,
  second,
  taskOf,
  useTinyBase,
} from './testing/stage-tasks.ts';
import { FORM, PICTURE, randomStage, relativeError, sameBits, TINY, tinyTensors } from './testing/tiny.ts';
import type { ReferenceAdapter } from './testing/vit-reference.ts';
import { loadVit, vitNetwork } from './vit.ts';

useTinyBase();

describe('training', () => {
  it('lowers the loss, of a first stage and of one below it', async () => {
    const training = { ...taskOf().training, epochs: 20 };
    const { losses, values } = await lossesOf(taskOf({ training }));
    expect([...losses.keys()]).toEqual([10, 20, 30, 40, 50, 60]);
    // A head of small weights starts near ln 3.
    expect(losses.get(60)!).toBeLessThan(0.3 * Math.log(3));
    expect(losses.get(60)!).toBeLessThan(losses.get(10)!);
    const all = Array.from({ length: RECORDS }, (_, i) => i);
    const before = referenceLoss(2, values, all);
    const next = await lossesOf(taskOf({ layers: [2], prefix: [{ layers: [3], values }], training }));
    expect(referenceLoss(2, new Map([...values, ...next.values]), all)).toBeLessThan(0.5 * before);
  });

  it('tells of every step, and of the loss at each tenth and at the last', async () => {
    const seen: StageProgress[] = [];
    await trainStage(base, taskOf({ training: { ...taskOf().training, epochs: 4 } }), (p) => seen.push(p));
    expect(seen.map(({ step, steps }) => [step, steps])).toEqual(
      Array.from({ length: 12 }, (_, i) => [i + 1, 12]),
    );
    expect(seen.filter(({ loss }) => loss !== null).map(({ step }) => step)).toEqual([10, 12]);
  });

  it('ends once patience does, with the values of the best epoch, and leaves none of another', async () => {
    const seen: StageValues[] = [];
    const copies: StageValues[] = [];
    const steps: number[] = [];
    const measure = async (values: StageValues) => {
      copies.push(new Map([...values].map(([name, value]) => [name, value.slice()])));
      seen.push(values);
      return [1, 3, 2, 3, 9][seen.length - 1]!;
    };
    const training = { ...taskOf().training, epochs: 6 };
    const task = taskOf({ training, stopping: { patience: 2, measure } });
    const values = await trainStage(base, task, ({ step, steps: all }) => steps.push(step / all));
    expect(steps).toHaveLength(12);
    // The learning rate is that of a training of all epochs.
    expect(steps.at(-1)).toBe(12 / 18);
    expect(values).toEqual(copies[1]);
    expect(copies[1]).not.toEqual(copies[3]);
    for (const [epoch, held] of seen.entries())
      for (const value of held.values()) expect(value.some((x) => x !== 0)).toBe(epoch === 1);
  });

  it('waits for its turn before every step', async () => {
    const seen: string[] = [];
    const turn = async () => {
      seen.push('turn');
      await new Promise((resolve) => setTimeout(resolve, 1));
    };
    const training = { ...taskOf().training, epochs: 1 };
    await trainStage(base, taskOf({ training, turn }), () => seen.push('step'));
    expect(seen).toEqual(['turn', 'step', 'turn', 'step', 'turn', 'step']);
  });

  it('goes on where the stage above left off: its head, then AdamW steps whose values come back', async () => {
    // With a constant rate a run of k + 1 steps goes through the values that a run of k steps returns.
    const run = (epochs: number) =>
      lossesOf(second({ training: constantRate({ epochs, batchSize: RECORDS }) }));
    const order = second().order(0);
    const all = Array.from({ length: RECORDS }, (_, i) => order[i]!);
    const started = new Map([
      ...PREFIX[0]!.values,
      ...startStage(FORM, [2], [1234, 5678], PREFIX[0]!.values),
    ]);
    expect((await run(1)).losses.get(1)! / referenceLoss(2, started, all) - 1).toBeCloseTo(0, 5);
    const { values } = await run(3);
    const after = new Map([...PREFIX[0]!.values, ...values]);
    expect((await run(4)).losses.get(4)! / referenceLoss(2, after, all) - 1).toBeCloseTo(0, 5);
  });
});

describe('dropout', () => {
  it('draws a mask of its own for every step, layer and target, from the key alone', async () => {
    const [rate, key] = [0.5, [1234, 5678]] as const;
    const form = { ...FORM, lora: { ...FORM.lora, dropout: rate } };
    /** One batch a step, at a constant rate: a run of k + 1 steps goes through the values that a run of k returns. */
    const run = async (epochs: number) => {
      const training = constantRate({ epochs, batchSize: RECORDS, learningRate: 0.05 });
      let last = 0;
      const values = await trainStage(
        base,
        taskOf({ form, key, layers: [3, 2], training, activation }),
        ({ loss }) => {
          last = loss ?? last;
        },
      );
      return { values, last };
    };
    const activation: StageTask['activation'] = (record, target) => target.set(rowOf(2, record));
    /** The masks as documented: word i of the step's stream for element i of [rows, tokens, width]. */
    const masks =
      (step: number, streamOf: (layer: number, target: string) => number) =>
      (row: number): ReferenceAdapter['dropout'] =>
      (x, layer, target) => {
        // The top layer's query is computed for the class token alone.
        const tokens = layer === 3 && target === 'query' ? 1 : x.length;
        return x
          .slice(0, tokens)
          .map((values, token) =>
            values.map((value, i) => {
              const at = (row * tokens + token) * TINY.hidden_size + i;
              const word = philox([Math.floor(at / 4), step, streamOf(layer, target), 0], key)[at % 4]!;
              return word >= rate * 2 ** 32 ? value / (1 - rate) : 0;
            }),
          )
          .concat(x.slice(tokens));
      };
    const names = FORM.architecture.targets.map(({ name }) => name);
    const stream = (layer: number, target: string) => layer * names.length + names.indexOf(target);
    const [{ values }, { last }] = [await run(3), await run(4)];
    const order = taskOf().order(3) as number[];
    const off = (...of: Parameters<typeof masks>) =>
      Math.abs(last / referenceLoss(2, values, order, masks(...of)) - 1);
    expect(off(3, stream)).toBeLessThan(1e-5);
    // The loss tells other masks apart.
    expect(off(2, stream)).toBeGreaterThan(1e-3);
    expect(off(3, (layer, target) => stream(layer, target) % names.length)).toBeGreaterThan(1e-3);
    expect(off(3, (layer) => layer * 3)).toBeGreaterThan(1e-3);
  });
});

describe('the prefix of a stage', () => {
  const bits = (values: Iterable<Float32Array<ArrayBuffer>>) =>
    [...values].map((v) => Buffer.from(v.buffer).toString('base64'));

  it('is used: the first loss is the reference loss with its adapters, not without', async () => {
    const values = PREFIX[0]!.values;
    const head = new Map([...values].filter(([name]) => name.includes('classifier')));
    const task = second({ training: constantRate({ epochs: 1, batchSize: RECORDS }) });
    const loss = (await lossesOf(task)).losses.get(1)!;
    const all = Array.from({ length: RECORDS }, (_, i) => i);
    expect(loss / referenceLoss(2, values, all) - 1).toBeCloseTo(0, 5);
    expect(Math.abs(loss / referenceLoss(2, head, all) - 1)).toBeGreaterThan(0.01);
  });

  it('is used in full, two stages deep', async () => {
    const prefix = [...PREFIX, { layers: [2], values: randomStage([2], 33) }];
    const task = taskOf({ layers: [1], prefix, training: constantRate({ epochs: 1, batchSize: RECORDS }) });
    const loss = (await lossesOf(task)).losses.get(1)!;
    // The head is that of the last stage above.
    const values = new Map(prefix.flatMap((stage) => [...stage.values]));
    const all = Array.from({ length: RECORDS }, (_, i) => i);
    expect(loss / referenceLoss(1, values, all) - 1).toBeCloseTo(0, 5);
  });

  it('is frozen, and so is the base: training leaves every value of both as it was', async () => {
    const weights = await loadVit(device, TINY, await tinyTensors());
    const { layers, norm, patches, classToken, positions } = weights;
    const tensors = [
      ...[...layers.flatMap((layer) => Object.values(layer)), norm, patches].flatMap((l) => [
        l.weight,
        l.bias,
      ]),
      classToken,
      positions,
    ];
    const read = async () => bits(await Promise.all(tensors.map((one) => one.read())));
    const baseBefore = await read();
    const prefixBefore = bits(PREFIX[0]!.values.values());
    const values = await trainStage({ ...base, network: vitNetwork(TINY, weights) }, second());
    expect(await read()).toEqual(baseBefore);
    expect(bits(PREFIX[0]!.values.values())).toEqual(prefixBefore);
    // And nothing of it is among what was trained.
    const layerNames = [...values.keys()].filter((name) => name.includes('lora'));
    expect(layerNames.length).toBe(4);
    expect(layerNames.every((name) => name.includes('encoder.layer.2.'))).toBe(true);
  });
});

describe('batches', () => {
  it.each([
    [1, 4, 3, 3],
    [3, 4, 2, 2],
    [4, 4, 2, 2],
    [9, 4, 1, 3],
    [9, 64, 2, 2],
  ])('of %i records by %i in %i epochs are %i steps', (records, batchSize, epochs, steps) => {
    expect(stageSteps(records, { epochs, batchSize })).toBe(steps);
  });

  it('take the mean over the records they have: in the last one of an epoch, and when there are few', async () => {
    // With rate 0 nothing moves, so the last step's loss is that of its batch under the start values.
    const still = constantRate({ epochs: 1, learningRate: 0, batchSize: 8 });
    const { losses, values } = await lossesOf(second({ training: still }));
    const order = second().order(0) as number[];
    const start = startStage(FORM, [2], [1234, 5678], PREFIX[0]!.values);
    for (const [name, value] of start)
      expect([name, sameBits(values.get(name)!, value)]).toEqual([name, true]);
    const all = new Map([...PREFIX[0]!.values, ...start]);
    expect(losses.get(2)! / referenceLoss(2, all, order.slice(8)) - 1).toBeCloseTo(0, 5);

    const few = { records: 3, order: () => [9, 1, 5], training: still };
    const small = await lossesOf(second(few));
    expect(small.losses.get(1)! / referenceLoss(2, all, [9, 1, 5]) - 1).toBeCloseTo(0, 5);
  });

  it('of several parts make the step of the whole, whatever each part holds', async () => {
    // 4, 4 and 3 records: their means count by how many there are.
    const trainingOf = (change: object) => ({ ...taskOf().training, clipNorm: 0.5, warmup: 0, ...change });
    const form = { ...FORM, lora: { ...FORM.lora, dropout: 0 } };
    const whole = await lossesOf(
      taskOf({ form, lossEvery: 1, training: trainingOf({ batchSize: RECORDS }) }),
    );
    const parts = await lossesOf(taskOf({ form, lossEvery: 1, training: trainingOf({ accumulation: 3 }) }));
    expect([...parts.losses.keys()]).toEqual([1, 2, 3]);
    for (const [step, loss] of whole.losses)
      expect(Math.abs(parts.losses.get(step)! - loss)).toBeLessThan(1e-4 * loss);
    // Three steps of one batch each are another training.
    const single = await lossesOf(taskOf({ form, lossEvery: 1 }));
    expect(Math.abs(single.losses.get(3)! - whole.losses.get(3)!)).toBeGreaterThan(1e-4);
  });

  it('leave the start values when there is no record', async () => {
    const { values } = await lossesOf(second({ records: 0, order: () => [] }));
    for (const [name, value] of startStage(FORM, [2], [1234, 5678], PREFIX[0]!.values))
      expect([name, sameBits(values.get(name)!, value)]).toEqual([name, true]);
  });

  it('train alike whether padded or not', async () => {
    const order = (epoch: number) => [9, 1, 5].map((_, i, all) => all[(i + epoch) % 3]!);
    const run = async (batchSize: number) => {
      const training = { ...taskOf().training, batchSize };
      return (await lossesOf(second({ records: 3, order, training }))).values;
    };
    const [exact, padded] = [await run(3), await run(8)];
    for (const [name, values] of exact)
      expect([name, relativeError(padded.get(name)!, values) < 1e-4]).toEqual([name, true]);
  });
});

describe('what goes wrong', () => {
  it('stops when it is aborted, before the first step or later, with the reason given', async () => {
    const reason = new Error('enough');
    await expect(trainStage(base, taskOf(), undefined, AbortSignal.abort(reason))).rejects.toBe(reason);
    const controller = new AbortController();
    const steps: number[] = [];
    const onProgress = ({ step }: StageProgress) => {
      steps.push(step);
      if (step === 2) controller.abort(reason);
    };
    await expect(trainStage(base, taskOf(), onProgress, controller.signal)).rejects.toBe(reason);
    expect(steps).toEqual([1, 2]);
  });

  it.each([3, -1, 0.5, Number.NaN])(
    'is a ModelError when a record that counts has the label %s',
    async (label) => {
      const labels = [...LABELS.slice(0, 4), label, ...LABELS.slice(5)];
      await expect(trainStage(base, taskOf({ labels }))).rejects.toThrow(
        new ModelError(`training: record 4 has label ${label}, the head has 3 outputs`),
      );
      const weights = labels.map((_, record) => (record === 4 ? 0 : 1));
      await expect(trainStage(base, taskOf({ labels, weights }))).resolves.toBeInstanceOf(Map);
    },
  );

  it.each([
    ['an activation is NaN', { activation: (_: number, target: Float32Array) => target.fill(Number.NaN) }],
    ['the rate is far too high', { training: constantRate({ learningRate: 1e30 }) }],
  ])('is a ModelError when %s', async (_title, change) => {
    const failed = trainStage(base, taskOf(change));
    await expect(failed).rejects.toThrow(ModelError);
    await expect(failed).rejects.toThrow(
      /^training: the loss became \S+ at step \d+; lower training\.learningRate$/,
    );
  });

  it('is a ModelError when the very last step spoils a weight, which no loss shows', async () => {
    const training = constantRate({ epochs: 1, batchSize: RECORDS, learningRate: 1e39 });
    const failed = trainStage(base, taskOf({ training }));
    await expect(failed).rejects.toThrow(ModelError);
    await expect(failed).rejects.toThrow(
      /^training: \S+ is not finite after step \d+; lower training\.learningRate$/,
    );
  });

  it('or right, device memory is back to its earlier level afterwards', async () => {
    await device.idle();
    const before = device.memory().liveBytes;
    const level = () => expect(device.memory().liveBytes).toBe(before);
    await trainStage(base, taskOf());
    level();
    await trainStage(base, second());
    level();
    await trainStage(base, second(), undefined, AbortSignal.abort()).catch(() => {});
    level();
    const nan = { activation: (_: number, target: Float32Array) => target.fill(Number.NaN) };
    await expect(trainStage(base, second(nan))).rejects.toThrow(ModelError);
    level();
    const progress = () => {
      throw new Error('listener');
    };
    await expect(trainStage(base, second(), progress)).rejects.toThrow('listener');
    level();
    const [{ layers, values }] = PREFIX as [(typeof PREFIX)[0]];
    const short = new Map([...values].map(([name, value], i) => [name, i < 3 ? value : value.subarray(1)]));
    await expect(trainStage(base, second({ prefix: [{ layers, values: short }] }))).rejects.toThrow(
      'tensor: ',
    );
    level();
    const form = { ...FORM, lora: { ...FORM.lora, dropout: 2 } };
    await expect(trainStage(base, second({ form }))).rejects.toThrow('dropout: rate 2 is not in [0, 1)');
    level();
    await baseActivations(base, 5, drawPicture, [2]);
    level();
    const stop = () => {
      throw new Error('no picture');
    };
    await expect(baseActivations(base, 5, stop, [2])).rejects.toThrow('no picture');
    level();
  });

  it('leaves no picture in memory that something else may get', async () => {
    const pass = new BasePass(base, [1]);
    await pass.run([drawPicture(0), drawPicture(1)]);
    pass.dispose();
    // As large as the pass's inputs, and never written.
    const next = empty(device, [pass.batch, PICTURE]);
    expect((await next.read()).every((value) => value === 0)).toBe(true);
    next.dispose();
  });
});
