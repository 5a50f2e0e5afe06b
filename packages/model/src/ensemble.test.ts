import { Device, scope, tensor } from '@s3t/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LayerAdapter } from './adapter.ts';
import { Ensemble, type EnsembleStack } from './ensemble.ts';
import { ModelError } from './errors.ts';
import type { BaseModel } from './model.ts';
import {
  FORM,
  PICTURE,
  poisonPools,
  randomPictures,
  sameBits,
  servedStage,
  tinyBase,
} from './testing/tiny.ts';

const LABELS = FORM.outputs;
const COUNT = 17;
const pictures = randomPictures(COUNT, 3);
const picture = (index: number) => pictures.subarray(index * PICTURE, (index + 1) * PICTURE);

/** Pictures side by side, by their numbers. */
function batchOf(indices: readonly number[]): Float32Array<ArrayBuffer> {
  const batch = new Float32Array(indices.length * PICTURE);
  indices.forEach((index, at) => {
    batch.set(picture(index), at * PICTURE);
  });
  return batch;
}

let device: Device;
let base: BaseModel;
/** Shards of depth 1, 3, 2, 4 and 1 again: not in order, one down to layer 0, two that share all of the trunk. */
let stacks: EnsembleStack[];
/** The logits of every stack for every picture, each computed by itself: [stack][picture]. */
let alone: Float32Array<ArrayBuffer>[][];

/** One stack on one picture: embed, every layer with its adapter, the last stage's head. No sharing, no batch, no capture. */
async function computeAlone({ stages }: EnsembleStack, index: number): Promise<Float32Array<ArrayBuffer>> {
  const adapters = new Map<number, LayerAdapter>(stages.flatMap(({ stage }) => [...stage.adapters]));
  const logits = scope(() => {
    const { network } = base;
    let x = network.embed({ pixels: tensor(device, batchOf([index]), [1, 3, 8, 8]) });
    for (let layer = 0; layer < network.architecture.layers; layer++)
      x = network.layer(layer, x, { inputs: {}, adapter: adapters.get(layer) });
    return network.logits(x, stages.at(-1)!.stage.head);
  });
  const values = await logits.read();
  logits.dispose();
  return values;
}

beforeAll(async () => {
  device = await Device.open();
  base = await tinyBase(device);
  const stackOf = (shard: number, depth: number): EnsembleStack => ({
    shard,
    stages: Array.from({ length: depth }, (_, i) => servedStage(device, [3 - i], 10 * shard + i)),
  });
  stacks = [stackOf(0, 1), stackOf(2, 3), stackOf(3, 2), stackOf(5, 4), stackOf(6, 1)];
  alone = [];
  for (const stack of stacks) {
    const rows: Float32Array<ArrayBuffer>[] = [];
    for (let i = 0; i < COUNT; i++) rows.push(await computeAlone(stack, i));
    alone.push(rows);
  }
});
afterAll(() => device.close());

/** Checks a forward pass of the given stacks and pictures against every one computed alone, bit for bit. */
async function expectAlone(ensemble: Ensemble, chosen: readonly number[], indices: readonly number[]) {
  const logits = await ensemble.forward({ pixels: batchOf(indices) }, indices.length);
  expect(logits.map(({ length }) => length)).toEqual(chosen.map(() => indices.length * LABELS));
  for (const [position, stack] of chosen.entries())
    for (const [row, index] of indices.entries()) {
      const found = logits[position]!.slice(row * LABELS, (row + 1) * LABELS) as Float32Array<ArrayBuffer>;
      const same = sameBits(found, alone[stack]![index]!);
      expect([stack, row, index, same]).toEqual([stack, row, index, true]);
    }
}

const ensembleOf = (chosen: readonly number[]) =>
  new Ensemble(
    base,
    chosen.map((i) => stacks[i]!),
    LABELS,
  );
const range = (count: number, from = 0) => Array.from({ length: count }, (_, i) => from + i);

describe('Ensemble.forward', () => {
  it('answers for every stack as it does alone, bit for bit, whatever the size of the batch', async () => {
    const ensemble = ensembleOf([0, 1, 2, 3, 4]);
    for (const count of [1, 2, 5, ensemble.largestBatch])
      await expectAlone(ensemble, [0, 1, 2, 3, 4], range(count));
    ensemble.dispose();
  });

  it('answers in a full batch as alone', async () => {
    const ensemble = ensembleOf([1, 0]);
    const all = range(ensemble.largestBatch).map((i) => (i * 5) % COUNT);
    await expectAlone(ensemble, [1, 0], all);
    ensemble.dispose();
  });

  it('answers alike at any place in a batch, beside any other pictures', async () => {
    const ensemble = ensembleOf([2, 3]);
    for (const indices of [[4], [4, 0, 1], [9, 8, 7, 6, 5, 4], [4, 4, 4, 4], range(8, 6).reverse()])
      await expectAlone(ensemble, [2, 3], indices);
    ensemble.dispose();
  });

  it('keeps passes that are asked for at once apart, and gives up those that wait when told to', async () => {
    const ensemble = ensembleOf([0, 1]);
    const urgent = new AbortController();
    const asked = [0, 1, 2, 3].map((i) =>
      ensemble.forward({ pixels: batchOf([i]) }, 1, { signal: i % 2 === 1 ? urgent.signal : undefined }),
    );
    const given = [asked[1], asked[3]].map((answer) => expect(answer).rejects.toBe('urgent'));
    urgent.abort('urgent');
    await Promise.all(given);
    for (const i of [0, 2]) {
      const [logits] = (await asked[i]!) as Float32Array<ArrayBuffer>[];
      expect([i, sameBits(logits!, alone[0]![i]!)]).toEqual([i, true]);
    }
    ensemble.dispose();
  });

  it('answers alike whichever other stacks there are, and in their order', async () => {
    for (const chosen of [[0], [3], [0, 4], [4, 3, 2, 1, 0], [1, 1]]) {
      const ensemble = ensembleOf(chosen);
      await expectAlone(ensemble, chosen, [7, 2]);
      ensemble.dispose();
    }
  });

  it('runs groups of several layers, and leaves the layers below them bare', async () => {
    const wide: EnsembleStack = { shard: 0, stages: [servedStage(device, [3, 2], 71)] };
    const deep: EnsembleStack = {
      shard: 1,
      stages: [servedStage(device, [3, 2], 72), servedStage(device, [1, 0], 73)],
    };
    const ensemble = new Ensemble(base, [wide, deep], LABELS);
    const logits = await ensemble.forward({ pixels: batchOf([3, 4]) }, 2);
    for (const [i, stack] of [wide, deep].entries())
      for (const [row, index] of [3, 4].entries()) {
        const found = logits[i]!.slice(row * LABELS, (row + 1) * LABELS) as Float32Array<ArrayBuffer>;
        expect(sameBits(found, await computeAlone(stack, index))).toBe(true);
      }
    ensemble.dispose();
  });

  it('answers alike on a dirty device, and after a fuller batch', async () => {
    const ensemble = ensembleOf([1, 2]);
    await expectAlone(ensemble, [1, 2], range(ensemble.largestBatch));
    await poisonPools(device, base);
    await expectAlone(ensemble, [1, 2], [13, 12]);
    const other = ensembleOf([2, 1]);
    await expectAlone(other, [2, 1], [5]);
    ensemble.dispose();
    other.dispose();
  });

  it('answers every one of several batches at once', async () => {
    const ensemble = ensembleOf([0, 1]);
    await Promise.all(
      [[0], [1], [2], range(6, 3), [9]].map((indices) => expectAlone(ensemble, [0, 1], indices)),
    );
    ensemble.dispose();
  });

  it('tells stacks apart', async () => {
    const [a, , , , b] = alone;
    expect(sameBits(a![0]!, b![0]!)).toBe(false);
    expect(sameBits(a![0]!, a![1]!)).toBe(false);
  });

  it('refuses more pictures than a batch holds, and pictures of another size', async () => {
    const ensemble = ensembleOf([0]);
    const most = ensemble.largestBatch;
    const tooMany = ensemble.forward({ pixels: new Float32Array((most + 1) * PICTURE) }, most + 1);
    await expect(tooMany).rejects.toThrow(
      new ModelError(`forward: ${most + 1} records are more than ${most}`),
    );
    const tooShort = ensemble.forward({ pixels: new Float32Array(2 * PICTURE - 1) }, 2);
    await expect(tooShort).rejects.toThrow(ModelError);
    ensemble.dispose();
  });
});

describe('Ensemble.dispose', () => {
  it('frees what the ensemble took, and leaves the stages to others', async () => {
    const before = device.memory().liveBytes;
    const ensemble = ensembleOf([0, 1, 3]);
    const other = ensembleOf([0, 1, 3]);
    for (const count of [1, 3, ensemble.largestBatch]) await expectAlone(ensemble, [0, 1, 3], range(count));
    expect(device.memory().liveBytes).toBeGreaterThan(before);
    ensemble.dispose();
    ensemble.dispose();
    expect(device.memory().liveBytes).toBe(before);
    await expectAlone(other, [0, 1, 3], [6]);
    other.dispose();
    expect(device.memory().liveBytes).toBe(before);
  });

  it('refuses an answer that is not computed yet, and leaves those that are', async () => {
    const ensemble = ensembleOf([0, 3]);
    await expectAlone(ensemble, [0, 3], [1, 2]);
    const running = expect(expectAlone(ensemble, [0, 3], [1, 2])).rejects.toThrow(
      'forward: the ensemble is disposed',
    );
    ensemble.dispose();
    // What is queued after takes the freed memory at once.
    const next = ensembleOf([3, 0]);
    await Promise.all([running, expectAlone(next, [3, 0], [8, 9])]);
    const before = device.memory().liveBytes;
    await expect(ensemble.forward({ pixels: batchOf([1]) }, 1)).rejects.toThrow(ModelError);
    expect(device.memory().liveBytes).toBe(before);
    next.dispose();
  });

  it('cannot answer with the weights of a destroyed stage', async () => {
    const doomed = servedStage(device, [3], 90);
    const ensemble = new Ensemble(base, [{ shard: 0, stages: [doomed] }], LABELS);
    await ensemble.forward({ pixels: batchOf([0]) }, 1);
    ensemble.dispose();
    const parameters = [...doomed.parameters.values()];
    for (const parameter of parameters) parameter.destroy();
    const again = new Ensemble(base, [{ shard: 0, stages: [doomed] }], LABELS);
    const before = device.memory().liveBytes;
    await expect(again.forward({ pixels: batchOf([0]) }, 1)).rejects.toThrow('disposed');
    await expect(again.prepare()).rejects.toThrow('disposed');
    // Whoever asks again and again takes no memory.
    expect(device.memory().liveBytes).toBe(before);
    again.dispose();
  });
});
