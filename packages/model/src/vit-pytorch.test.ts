// Against PyTorch, transformers and PEFT: the numbers of tools/reference/vit.py.

import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  AdamW,
  capture,
  crossEntropy,
  Device,
  fill,
  gradients,
  learningRateAt,
  scope,
  type Tensor,
  tensor,
} from '@s3t/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { baseActivations } from './activations.ts';
import type { LayerAdapter } from './adapter.ts';
import type { Head } from './architecture.ts';
import { type BaseModel, loadBaseModel } from './model.ts';
import { type Picture, parsePreprocessing } from './preprocess.ts';
import { parseSafetensors, type StoredTensor, toFloat32 } from './safetensors.ts';
import { placeStage, type StageForm, startStage } from './stage.ts';
import { type TrainingConfig, trainStage } from './stage-training.ts';
import { errorsOf, relativeError, type Values } from './testing/tiny.ts';

const FOLDER = fileURLToPath(new URL('../../../tools/reference/vit', import.meta.url));
const RECORDS = 6;
const PICTURE = 3 * 16 * 16;
const ROW = 17 * 32;

interface About {
  labels: number[];
  losses: number[];
  lora: StageForm['lora'];
  training: TrainingConfig;
  /** Layers of the frozen group and of the trained one, top-down. */
  frozen: number[];
  trained: number[];
  key: [number, number];
}

let device: Device;
let base: BaseModel;
let about: About;
let form: StageForm;
let stored: Map<string, StoredTensor>;
const numbers = (name: string) => toFloat32(stored.get(name)!, name, 'reference.safetensors');
/** The values of a kind ("adapter", "gradient", "trained"), by the names PEFT gives them. */
function named(kind: string): Values {
  const names = [...stored.keys()].filter((name) => name.startsWith(`${kind}.base_model.`));
  return new Map(names.map((name) => [name.slice(kind.length + 1), numbers(name)]));
}

beforeAll(async () => {
  device = await Device.open();
  base = await loadBaseModel(device, FOLDER);
  about = JSON.parse(await readFile(join(FOLDER, 'reference.json'), 'utf8'));
  const file = new Uint8Array(await readFile(join(FOLDER, 'reference.safetensors')));
  stored = parseSafetensors(file, 'reference.safetensors').tensors;
  form = { architecture: base.network.architecture, lora: about.lora, outputs: 5 };
});
afterAll(() => device.close());

type Adapters = ReadonlyMap<number, LayerAdapter>;

/** The logits of what enters layer `from`. */
function logitsOf(x: Tensor, from: number, head: Head, adapters?: Adapters): Tensor {
  const { network } = base;
  let y = x;
  for (let layer = from; layer < network.architecture.layers; layer++)
    y = network.layer(layer, y, { inputs: {}, adapter: adapters?.get(layer) });
  return network.logits(y, head);
}

const embedded = () =>
  base.network.embed({ pixels: tensor(device, numbers('pixels'), [RECORDS, 3, 16, 16]) });
/** The inputs of record `i`. */
const inputsOf = (i: number) => ({ pixels: numbers('pixels').subarray(i * PICTURE, (i + 1) * PICTURE) });

const noted = errorsOf('ViT');

describe('preprocess', () => {
  const processed = (image: Picture) => base.encode({ image }).pixels as Float32Array;

  it('makes of pictures of the exact size what ViTImageProcessor does', () => {
    const { bytes } = stored.get('pictures')!;
    const found = Array.from({ length: RECORDS }, (_, i) => {
      const pixels = bytes.subarray(i * PICTURE, (i + 1) * PICTURE);
      return Array.from(processed({ width: 16, height: 16, channels: 3, pixels }));
    });
    expect(relativeError(found.flat(), numbers('pixels'))).toBeLessThan(1e-6);
  });

  it.each(['small', 'large'])(
    'resizes a %s picture as ViTImageProcessor does, but for its rounding',
    (name) => {
      const { bytes, shape } = stored.get(name)!;
      const [height, width] = shape as [number, number, number];
      const found = processed({ width, height, channels: 3, pixels: bytes });
      const expected = numbers(`${name}.pixels`);
      // Pillow rounds to whole levels after each of its two passes: at most one level of 1 / 255 apart, over the deviation.
      const file = join(FOLDER, 'preprocessor_config.json');
      const { deviation } = parsePreprocessing(JSON.parse(readFileSync(file, 'utf8')), 3, file);
      const worst = Math.max(
        ...found.map((v, i) => Math.abs(v - expected[i]!) * deviation[Math.floor(i / 256)]! * 255),
      );
      expect(worst).toBeLessThanOrEqual(1.001);
    },
  );
});

describe('forward', () => {
  it('enters every layer with the hidden states of transformers', async () => {
    const layers = [0, 1, 2, 3, 4];
    const found = await baseActivations(base, RECORDS, inputsOf, layers);
    const expected = numbers('base.hidden');
    for (const layer of layers) {
      const rows = expected.subarray(layer * RECORDS * ROW, (layer + 1) * RECORDS * ROW);
      expect(relativeError(found.get(layer)!, rows)).toBeLessThan(1e-5);
    }
  });

  it('gives the logits of the base', async () => {
    const file = new Uint8Array(await readFile(join(FOLDER, 'model.safetensors')));
    const { tensors } = parseSafetensors(file, 'model.safetensors');
    const put = (name: string) => {
      const found = tensors.get(name)!;
      return tensor(device, toFloat32(found, name, 'model.safetensors'), found.shape);
    };
    const logits = logitsOf(embedded(), 0, {
      'classifier.weight': put('classifier.weight'),
      'classifier.bias': put('classifier.bias'),
    });
    expect(noted('logits', relativeError(await logits.read(), numbers('base.logits')))).toBeLessThan(1e-5);
  });

  it('gives the logits, the loss and the gradients of PEFT', async () => {
    const layers = [...about.frozen, ...about.trained];
    const { stage, parameters } = placeStage(device, form, layers, named('adapter'), 'train');
    const expected = named('gradient');
    const names = [...expected.keys()];
    expect(names.length).toBe(2 * 2 * 2 + 2);
    const labels = tensor(device, Uint32Array.from(about.labels));
    const weights = tensor(device, new Float32Array(RECORDS).fill(1));
    const x = embedded();
    const step = capture(device, () => {
      const logits = logitsOf(x, 0, stage.head, stage.adapters);
      const loss = crossEntropy(logits, labels, weights);
      return {
        logits,
        loss,
        gradients: gradients(
          loss,
          names.map((name) => parameters.get(name)!),
        ),
      };
    });
    step.replay();
    const { logits, loss, gradients: found } = step.outputs;
    expect(noted('logits', relativeError(await logits.read(), numbers('adapter.logits')))).toBeLessThan(1e-5);
    expect(relativeError(await loss.read(), numbers('adapter.loss'))).toBeLessThan(1e-5);
    for (const [i, name] of names.entries()) {
      const error = noted('gradients', relativeError(await found[i]!.read(), expected.get(name)!));
      expect([name, error < 1e-4]).toEqual([name, true]);
    }
  });
});

describe('training', () => {
  /** What enters the lowest trained layer, for all records. */
  const enteringRows = async () => {
    const lowest = Math.min(...about.trained);
    const found = await baseActivations(base, RECORDS, inputsOf, [lowest]);
    return found.get(lowest)!;
  };
  const order = (epoch: number) => Array.from({ length: RECORDS }, (_, i) => (i + epoch) % RECORDS);
  const expectTrained = (values: Values) => {
    const expected = named('trained');
    expect([...expected.keys()].sort()).toEqual([...values.keys()].sort());
    for (const [name, value] of values)
      expect([name, relativeError(value, expected.get(name)!) < 1e-3]).toEqual([name, true]);
  };

  it('of a stage gives the start, the last loss and the values of PEFT and torch.optim.AdamW', async () => {
    const rows = await enteringRows();
    const losses: number[] = [];
    const values = await trainStage(
      base,
      {
        form,
        training: about.training,
        key: about.key,
        layers: about.trained,
        prefix: [{ layers: about.frozen, values: named('adapter') }],
        records: RECORDS,
        activation: (record, target) => target.set(rows.subarray(record * ROW, (record + 1) * ROW)),
        labels: Uint32Array.from(about.labels),
        order,
      },
      ({ loss }) => loss !== null && losses.push(loss),
    );
    expect(losses.map((loss) => loss / about.losses[9]! - 1)).toEqual([expect.closeTo(0, 4)]);
    expectTrained(values);
  });

  it('step by step, the frozen adapters not merged, gives every one of the ten losses', async () => {
    const rows = await enteringRows();
    const { batchSize, epochs, weightDecay, clipNorm } = about.training;
    const above = named('adapter');
    const frozen = placeStage(device, form, about.frozen, above, 'serve').stage;
    const start = startStage(form, about.trained, about.key, above);
    const { stage, parameters } = placeStage(device, form, about.trained, start, 'train');
    const adapters = new Map([...frozen.adapters, ...stage.adapters]);
    const trained = [...parameters.values()];
    const optimiser = new AdamW(device, trained, { weightDecay, clipNorm: clipNorm! });
    const losses: number[] = [];
    const steps = about.losses.length;
    for (let epoch = 0; epoch < epochs; epoch++)
      for (let from = 0; from < RECORDS; from += batchSize) {
        const batch = order(epoch).slice(from, from + batchSize);
        optimiser.begin(learningRateAt(losses.length, { ...about.training, steps }));
        const loss = scope(() => {
          const entering = Float32Array.from(
            batch.flatMap((r) => [...rows.subarray(r * ROW, (r + 1) * ROW)]),
          );
          const x = tensor(device, entering, [batch.length, 17, 32]);
          const labels = tensor(
            device,
            Uint32Array.from(batch, (record) => about.labels[record]!),
          );
          const logits = logitsOf(x, Math.min(...about.trained), stage.head, adapters);
          const mean = crossEntropy(logits, labels, fill(device, [batch.length], 1));
          optimiser.apply(gradients(mean, trained));
          return mean;
        });
        losses.push(await loss.item());
      }
    expect(noted('losses', relativeError(losses, about.losses))).toBeLessThan(1e-4);
    const values: Values = new Map();
    for (const [name, parameter] of parameters) values.set(name, await parameter.read());
    expectTrained(values);
  });
});
