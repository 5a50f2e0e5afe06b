// A base whose linear layers are kept in fewer bits, against the same base in f32 with the values that are left of its own.

import { fileURLToPath } from 'node:url';
import { Device, uniformValues } from '@s3t/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ModelError } from './errors.ts';
import { type BaseModel, loadBaseModel } from './model.ts';
import { type FrozenStage, type StageTask, trainStage } from './stage-training.ts';
import {
  FORM,
  ROW,
  randomStage,
  relativeError,
  sameBits,
  tinyBase,
  tinyTensors,
  type Values,
} from './testing/tiny.ts';

const RECORDS = 6;
const rows = uniformValues(RECORDS * ROW, 1, [1, 41], 0);

let device: Device;
let quantised: BaseModel;
/** In f32, with the values of `quantised`. */
let same: BaseModel;
beforeAll(async () => {
  device = await Device.open();
  quantised = await tinyBase(device, 1, { quantization: 'int8' });
  const { architecture, linearOf } = quantised.network;
  const left: Values = new Map();
  for (let layer = 0; layer < architecture.layers; layer++)
    for (const { name, module } of architecture.targets)
      left.set(
        `${architecture.layerModule(layer)}.${module}.weight`,
        await linearOf(layer, name).weight.read(),
      );
  const stored = await tinyTensors();
  const tensors = {
    ...stored,
    stream: undefined,
    read: async (name: string) => left.get(name) ?? stored.read(name),
  };
  same = await tinyBase(device, 1, { tensors });
});
afterAll(() => device.close());

function train(base: BaseModel, layer: number, prefix: readonly FrozenStage[] = []): Promise<Values> {
  const task: StageTask = {
    form: { ...FORM, lora: { ...FORM.lora, dropout: 0.1 } },
    training: {
      epochs: 2,
      batchSize: 4,
      learningRate: 0.01,
      weightDecay: 0.01,
      schedule: 'linear',
      warmup: 0,
      clipNorm: null,
    },
    key: [7, 8],
    layers: [layer],
    prefix,
    records: RECORDS,
    activation: (record, target) => target.set(rows.subarray(record * ROW, (record + 1) * ROW)),
    labels: [0, 1, 2, 0, 1, 2],
    order: () => [0, 1, 2, 3, 4, 5],
  };
  return trainStage(base, task);
}

const PREFIX = [{ layers: [3], values: randomStage([3], 31) }];

describe('a quantised base', () => {
  it('keeps the linear layers of its layers in fewer bits, and nothing else', async () => {
    const { weight, bias } = quantised.network.linearOf(0, 'output.dense');
    expect([weight.dtype, bias!.dtype]).toEqual(['int8', 'f32']);
    const other = await tinyBase(device);
    const rounding = relativeError(
      await weight.read(),
      await other.network.linearOf(0, 'output.dense').weight.read(),
    );
    expect(rounding).toBeGreaterThan(1e-4);
    expect(rounding).toBeLessThan(1 / 200);
    const pixels = { pixels: uniformValues(3 * 8 * 8, 1, [1, 42], 0) };
    expect(Object.keys(pixels)).toEqual(quantised.network.architecture.inputs.map(({ name }) => name));
  });

  it('trains a stage to the bits that the same values in f32 give', async () => {
    const [values, expected] = [await train(quantised, 3), await train(same, 3)];
    for (const [name, value] of values)
      expect([name, sameBits(value, expected.get(name)!)]).toEqual([name, true]);
  });

  it('leaves adapters above beside its weights: the bits of the same in f32, and all but rounding of merged ones', async () => {
    const values = await train(quantised, 2, PREFIX);
    // Weights in f32 that say they are int8: nothing is merged into them.
    const network = { ...same.network, linearOf: quantised.network.linearOf };
    const beside = await train({ ...same, network }, 2, PREFIX);
    const merged = await train(same, 2, PREFIX);
    for (const [name, value] of values) {
      expect([name, sameBits(value, beside.get(name)!)]).toEqual([name, true]);
      expect([name, relativeError(value, merged.get(name)!) < 1e-4]).toEqual([name, true]);
    }
    // And they are used.
    expect(
      relativeError(values.get(HEAD)!, (await train(same, 2, [{ ...PREFIX[0]!, values: bare }])).get(HEAD)!),
    ).toBeGreaterThan(1e-3);
  });

  it('gives everything back that training took', async () => {
    const before = device.memory().liveBytes;
    await train(quantised, 2, PREFIX);
    expect(device.memory().liveBytes).toBe(before);
  });

  it('is refused in a type that its widths do not fit, by tensor', async () => {
    await expect(tinyBase(device, 1, { quantization: 'int4' })).rejects.toThrow(
      new ModelError(
        'tiny: tensor vit.encoder.layer.0.attention.attention.query.weight cannot be held as int4x32: quantise: the last axis of [16,16] is no multiple of the 32 of int4x32',
      ),
    );
  });

  it.each(['vit', 'roberta', 'llama/llama3'])('may be %s, in 4 bits', async (name) => {
    const folder = fileURLToPath(new URL(`../../../tools/reference/${name}`, import.meta.url));
    const { network } = await loadBaseModel(device, folder, { maxLength: 12, quantization: 'int4' });
    const { layers, targets } = network.architecture;
    const types = targets.map((target) => network.linearOf(layers - 1, target.name).weight.dtype);
    expect(new Set(types)).toEqual(new Set(['int4x32']));
  });
});

const HEAD = 'base_model.model.classifier.weight';
/** The head of the prefix over adapters that change nothing. */
const bare: Values = new Map(
  [...PREFIX[0]!.values].map(([name, value]) => [name, name.includes('lora_B') ? value.map(() => 0) : value]),
);
