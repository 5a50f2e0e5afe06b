import { fileURLToPath } from 'node:url';
import { scope, tensor } from '@s3t/engine';
import { beforeAll, describe, expect, it } from 'vitest';
import { baseActivations } from './activations.ts';
import { Ensemble } from './ensemble.ts';
import { Decoder } from './generation/decoder.ts';
import { trainStages } from './joint-training.ts';
import { parseLlamaConfig } from './llama.ts';
import { planLlamaStage } from './memory-plan.ts';
import { type BaseModel, loadBaseModel } from './model.ts';
import { encodeStage } from './stage.ts';
import { type StageProgress, type StageTask, trainStage } from './stage-training.ts';
import { PUBLISHED_CONFIGS } from './testing/published-configs.ts';
import {
  bytesOf,
  device,
  drawPicture,
  base as full,
  RECORDS,
  rowOf,
  second,
  taskOf,
  useTinyBase,
} from './testing/stage-tasks.ts';
import {
  FORM,
  PICTURE,
  ROW,
  randomStage,
  relativeError,
  sameBits,
  servedStage,
  tinyBase,
} from './testing/tiny.ts';

useTinyBase();

/** A value that is stored as f16 is off by this part of itself at most. */
const ROUNDING = 2 ** -11;

/** The losses of every step. */
async function lossesOf(base: BaseModel, task: StageTask): Promise<number[]> {
  const losses: number[] = [];
  const note = ({ loss }: StageProgress) => losses.push(loss!);
  await trainStage(base, { ...task, lossEvery: 1 }, note);
  return losses;
}

describe('a ViT that stores what its layers hand on as f16', () => {
  let half: BaseModel;
  /** What enters layers 3 and 2. */
  let kept: Map<number, Float32Array<ArrayBuffer>>;
  beforeAll(async () => {
    half = await tinyBase(device, 1, { activations: 'f16' });
    kept = await baseActivations(half, RECORDS, drawPicture, [3, 2]);
  });
  const entering =
    (layer: number): StageTask['activation'] =>
    (record, target) =>
      target.set(kept.get(layer)!.subarray(record * ROW, (record + 1) * ROW));
  const task = (change: Partial<StageTask> = {}) =>
    taskOf({ activation: entering(change.layers?.[0] ?? 3), ...change });

  it('keeps what f16 holds, close to what f32 would', () => {
    const values = kept.get(3)!;
    expect(values.every((value) => Math.f16round(value) === value)).toBe(true);
    const expected = new Float32Array(values.length);
    for (let record = 0; record < RECORDS; record++) expected.set(rowOf(3, record), record * ROW);
    expect(expected.every((value) => Math.f16round(value) === value)).toBe(false);
    // Three layers of ten stored values, one on top of the other.
    expect(relativeError(values, expected)).toBeLessThan(30 * ROUNDING);
  });

  it('learns as with f32, to the part that rounding takes of a loss', async () => {
    const form = FORM;
    const losses = await lossesOf(half, task({ form }));
    const expected = await lossesOf(full, taskOf({ form }));
    expect(losses.at(-1)).toBeLessThan(0.8 * losses[0]!);
    // Found: 0.2 of a rounding. A loss is a mean, in which they cancel.
    expect(relativeError(losses, expected)).toBeLessThan(2 * ROUNDING);
    expect(losses).not.toEqual(expected);
  });

  it('gives a stage the same bytes twice, from what was kept deeper down, and beside others', async () => {
    const alone = await bytesOf(task(), half);
    expect(await bytesOf(task(), half)).toEqual(alone);
    expect(await bytesOf(task({ from: 2, activation: entering(2) }), half)).toEqual(alone);
    expect(await bytesOf(taskOf(), full)).not.toEqual(alone);
  });

  it('gives stages on top of different ones the bytes that each has alone', async () => {
    const { form, training } = task();
    const below = { form, training, activation: entering(2) };
    const tasks = [
      second(below),
      second({ ...below, key: [7, 7], prefix: [{ layers: [3], values: randomStage([3], 5) }] }),
    ];
    const together = await trainStages(half, tasks);
    for (const [i, values] of together.entries())
      expect(Buffer.from(encodeStage(form, [2], values))).toEqual(await bytesOf(tasks[i]!, half));
  });

  it('answers with the same bits whoever else is in the batch', async () => {
    const stacks = [0, 1].map((shard) => ({
      shard,
      stages: [servedStage(device, [3], 5 + shard), ...(shard ? [servedStage(device, [2], 8)] : [])],
    }));
    const ensemble = new Ensemble(half, stacks, 3);
    const pixels = new Float32Array(3 * PICTURE);
    for (const i of [0, 1, 2]) pixels.set(drawPicture(i).pixels as Float32Array, i * PICTURE);
    const together = await ensemble.forward({ pixels }, 3);
    const alone = await ensemble.forward({ pixels: pixels.slice(PICTURE, 2 * PICTURE) }, 1);
    for (const [stack, logits] of alone.entries())
      expect(
        sameBits(
          logits as Float32Array<ArrayBuffer>,
          together[stack]!.slice(3, 6) as Float32Array<ArrayBuffer>,
        ),
      ).toBe(true);
    ensemble.dispose();
  });
});

const folderOf = (name: string) =>
  fileURLToPath(new URL(`../../../tools/reference/${name}`, import.meta.url));
const LLAMA = folderOf('llama/llama3');

describe.each([
  ['RoBERTa', folderOf('roberta'), 'classification', ['query', 'value']],
  ['Llama', LLAMA, 'causal-lm', ['q_proj', 'v_proj']],
] as const)('a %s that stores what its layers hand on as f16', (_, folder, objective, targets) => {
  const TEXTS = ['a b', 'b a c', 'c c a', 'a c b'];
  let bases: { half: BaseModel; full: BaseModel };
  beforeAll(async () => {
    const options = { maxLength: 12, buckets: [12] };
    bases = {
      half: await loadBaseModel(device, folder, { ...options, activations: 'f16' }),
      full: await loadBaseModel(device, folder, options),
    };
  });

  /** A stage of the two uppermost layers, from what enters `from`, the lower one by default. */
  async function stageOf(base: BaseModel, below = 0): Promise<StageTask> {
    const { architecture } = base.network;
    const lowest = architecture.layers - 2;
    const from = lowest - below;
    const inputs = (record: number) => base.encode({ text: TEXTS[record]! });
    const kept = (await baseActivations(base, TEXTS.length, inputs, [from])).get(from)!;
    const row = kept.length / TEXTS.length;
    const next = TEXTS.map((text) => base.language?.nextTokens({ text }, 'all'));
    return taskOf({
      form: {
        architecture,
        lora: { ...FORM.lora, targets: [...targets] },
        outputs: objective === 'causal-lm' ? 0 : 2,
      },
      objective,
      layers: [lowest, lowest + 1],
      from,
      records: TEXTS.length,
      training: { ...taskOf().training, epochs: 6, learningRate: 0.02 },
      activation: (record, target) => target.set(kept.subarray(record * row, record * row + target.length)),
      inputs,
      ...(objective === 'causal-lm'
        ? {
            labels: next.flatMap((tokens) => [...tokens!.labels]),
            weights: next.flatMap((tokens) => [...tokens!.weights]),
          }
        : { labels: [0, 1, 0, 1] }),
      order: () => [0, 1, 2, 3],
    });
  }

  it('learns as with f32, and from what was kept deeper down to the same bytes', async () => {
    const losses = await lossesOf(bases.half, await stageOf(bases.half));
    expect(losses.at(-1)).toBeLessThan(0.95 * losses[0]!);
    const expected = await lossesOf(bases.full, await stageOf(bases.full));
    // AdamW steps by the signs of gradients: of small ones a rounding turns some, so that runs drift apart. Found: 7 roundings.
    expect(relativeError(losses, expected)).toBeLessThan(30 * ROUNDING);
    expect(losses).not.toEqual(expected);
    const alone = await bytesOf(await stageOf(bases.half), bases.half);
    expect(await bytesOf(await stageOf(bases.half, 1), bases.half)).toEqual(alone);
  });
});

it('a Llama reads token by token in f16 with the bits of the whole text', async () => {
  const { network, language } = await loadBaseModel(device, LLAMA, { maxLength: 12, activations: 'f16' });
  const ids = [1, 9, 4, 7, 7];
  const whole = scope(() => {
    let x = network.embed({ ids: tensor(device, Uint32Array.from(ids), [1, ids.length]) });
    for (let layer = 0; layer < network.architecture.layers; layer++)
      x = network.layer(layer, x, { inputs: {} });
    return network.logits(x, {});
  });
  const logits = await whole.read();
  const decoder = new Decoder(language!, { capacity: 12 });
  await decoder.append(ids.slice(0, 2));
  const last = await decoder.append(ids.slice(2));
  expect(sameBits(last, logits.slice(-last.length))).toBe(true);
  decoder.dispose();
});

it('a step of a Llama keeps half the bytes of each layer', async () => {
  const config = parseLlamaConfig(PUBLISHED_CONFIGS['meta-llama/Llama-2-7b-hf']!, 'config.json');
  const lora = { rank: 16, alpha: 16, rslora: true, dropout: 0.1, targets: ['q_proj', 'v_proj'] };
  const stage = { config, lora, quantization: 'int8' as const, batchSize: 8, tokens: 256 };
  const limits = { maxBufferSize: 4 * 2 ** 30, maxStorageBufferBindingSize: 2 ** 31 - 4 };
  const device = { ...limits, features: ['shader-f16'] };
  const most = async (activations: 'f32' | 'f16', layers: readonly number[]) =>
    (await planLlamaStage({ ...stage, activations, layers }, 'gpu', device)).most;
  const perLayer = async (activations: 'f32' | 'f16') =>
    ((await most(activations, [31, 30, 29])) - (await most(activations, [31]))) / 2;
  // Adapters, their moments and a few sums of each row stay f32.
  expect((await perLayer('f16')) / (await perLayer('f32'))).toBeLessThan(0.52);
});
