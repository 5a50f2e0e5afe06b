import {
  capture,
  crossEntropy,
  Device,
  gradients,
  type Tensor,
  tensor,
  uniformValues,
  zeros,
} from '@s3t/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loraScale } from './lora.ts';
import { placeStage, type Stage } from './stage.ts';
import {
  FORM,
  PICTURE,
  ROW,
  randomPictures,
  randomStage,
  relativeError,
  sameBits,
  TINY,
  tinyTensors,
  tinyWeights,
} from './testing/tiny.ts';
import {
  classifyReference,
  embedReference,
  layerReference,
  logitsReference,
  lossReference,
  type Rows,
  rowsOf,
} from './testing/vit-reference.ts';
import { classify, embed, encoderLayer, loadVit, type VitWeights } from './vit.ts';

const BATCH = 3;
const weights = tinyWeights();
/** What enters the layers: rows of the size that an encoder really sees. */
const activations = uniformValues(BATCH * ROW, 1.5, [5, 5], 0);
const scale = loraScale(FORM.lora);

let device: Device;
let placed: VitWeights;
beforeAll(async () => {
  device = await Device.open();
  placed = await loadVit(device, TINY, await tinyTensors());
});
afterAll(() => device.close());

/** A stage's head as the classifier takes it. */
const headOf = ({ head }: Stage) => ({
  weight: head['classifier.weight']!,
  bias: head['classifier.bias']!,
});

/** One picture's part of a batch, as rows of the hidden width. */
const record = (values: ArrayLike<number>, index: number): Rows =>
  rowsOf(Array.from(values).slice(index * ROW, (index + 1) * ROW), TINY.hidden_size);

/** A batch computed record by record with the reference. */
const batched = (compute: (index: number) => Rows | number[]): number[] =>
  Array.from({ length: BATCH }, (_, index) => compute(index).flat()).flat();

const input = () => tensor(device, activations, [BATCH, 5, 16]);

describe('forward', () => {
  it('embeds pictures as the reference does', async () => {
    const pictures = randomPictures(BATCH);
    const tokens = embed(TINY, placed, tensor(device, pictures, [BATCH, 3, 8, 8]));
    expect(tokens.shape).toEqual([BATCH, 5, 16]);
    const picture = (index: number) => pictures.subarray(index * PICTURE, (index + 1) * PICTURE);
    const expected = batched((index) => embedReference(TINY, weights, picture(index)));
    expect(relativeError(await tokens.read(), expected)).toBeLessThan(1e-5);
  });

  it.each([0, 3])('computes the bare layer %i as the reference does', async (layer) => {
    const y = encoderLayer(TINY, placed.layers[layer]!, input());
    const expected = batched((index) => layerReference(TINY, weights, layer, record(activations, index)));
    expect(relativeError(await y.read(), expected)).toBeLessThan(1e-5);
  });

  it.each([
    { targets: ['query', 'value'], rslora: true },
    { targets: ['key'], rslora: false },
  ])('computes a layer with LoRA on $targets (rslora: $rslora) as the reference does', async (lora) => {
    const form = { ...FORM, lora: { ...FORM.lora, ...lora } };
    const values = randomStage([2], 7, form);
    const { stage } = placeStage(device, form, [2], values, 'serve');
    const adapter = stage.adapters.get(2);
    const y = encoderLayer(TINY, placed.layers[2]!, input(), { adapter });
    const reference = { values, scale: loraScale(form.lora) };
    const compute = (change?: typeof reference) =>
      batched((index) => layerReference(TINY, weights, 2, record(activations, index), change));
    expect(relativeError(await y.read(), compute(reference))).toBeLessThan(1e-5);
    // The adapter and its scale are not lost in the tolerance.
    expect(relativeError(await y.read(), compute())).toBeGreaterThan(0.05);
    expect(relativeError(await y.read(), compute({ values, scale: scale * 1.01 }))).toBeGreaterThan(1e-4);
  });

  it('computes with onlyClassToken the class row of the full layer, bit for bit', async () => {
    const { stage } = placeStage(device, FORM, [3], randomStage([3], 8), 'serve');
    for (const adapter of [undefined, stage.adapters.get(3)]) {
      const full = encoderLayer(TINY, placed.layers[3]!, input(), { adapter });
      const only = encoderLayer(TINY, placed.layers[3]!, input(), { adapter, onlyClassToken: true });
      expect(only.shape).toEqual([BATCH, 1, 16]);
      const rows = await full.read();
      const classRows = Float32Array.from(
        Array.from({ length: BATCH }, (_, i) => [...rows.subarray(i * ROW, i * ROW + 16)]).flat(),
      );
      expect(sameBits(await only.read(), classRows)).toBe(true);
      // The head reads the class row alone, so it answers the same from either.
      const [a, b] = [full, only].map((top) => classify(TINY, placed, top, headOf(stage))) as [
        Tensor,
        Tensor,
      ];
      expect(sameBits(await a.read(), await b.read())).toBe(true);
    }
  });

  it('classifies as the reference does', async () => {
    const values = randomStage([3], 9);
    const { stage } = placeStage(device, FORM, [3], values, 'serve');
    const logits = classify(TINY, placed, input(), headOf(stage));
    expect(logits.shape).toEqual([BATCH, 3]);
    const expected = batched((index) => classifyReference(TINY, weights, record(activations, index), values));
    expect(relativeError(await logits.read(), expected)).toBeLessThan(1e-5);
  });

  it('computes the whole model with two stages as the reference does', async () => {
    const pictures = randomPictures(BATCH, 4);
    const values = new Map([...randomStage([3], 10), ...randomStage([2, 1], 11)]);
    const { stage } = placeStage(device, FORM, [3, 2, 1], values, 'serve');
    let x = embed(TINY, placed, tensor(device, pictures, [BATCH, 3, 8, 8]));
    for (const [layer, layerWeights] of placed.layers.entries())
      x = encoderLayer(TINY, layerWeights, x, {
        adapter: stage.adapters.get(layer),
        onlyClassToken: layer === 3,
      });
    const logits = await classify(TINY, placed, x, headOf(stage)).read();
    const expected = batched((index) => {
      const picture = pictures.subarray(index * PICTURE, (index + 1) * PICTURE);
      return logitsReference(TINY, weights, 0, embedReference(TINY, weights, picture), { values, scale });
    });
    expect(relativeError(logits, expected)).toBeLessThan(1e-5);
  });
});

describe('gradients of the captured training step', () => {
  const LAYERS = [2, 1];
  const LABELS = Uint32Array.of(2, 0, 1);

  /** The loss and gradients of training `LAYERS` below a bare top layer, with rows of the given weights. */
  async function deviceGradients(x: Float32Array<ArrayBuffer>, rowWeights: Float32Array<ArrayBuffer>) {
    const { stage, parameters } = placeStage(device, FORM, LAYERS, randomStage(LAYERS, 12), 'train');
    const inputs = { x: zeros(device, [BATCH, 5, 16]), labels: zeros(device, [BATCH], { dtype: 'u32' }) };
    const rows = zeros(device, [BATCH]);
    const trained = [...parameters.values()];
    const step = capture(device, () => {
      let y: Tensor = inputs.x;
      for (let layer = 1; layer < 4; layer++) {
        const adapter = stage.adapters.get(layer);
        y = encoderLayer(TINY, placed.layers[layer]!, y, { adapter, onlyClassToken: layer === 3 });
      }
      const loss = crossEntropy(classify(TINY, placed, y, headOf(stage)), inputs.labels, rows);
      return { loss, gradients: gradients(loss, trained) };
    });
    inputs.x.write(x);
    inputs.labels.write(LABELS);
    rows.write(rowWeights);
    step.replay();
    const loss = await step.outputs.loss.item();
    const found = new Map<string, Float32Array<ArrayBuffer>>();
    for (const [i, name] of [...parameters.keys()].entries())
      found.set(name, await step.outputs.gradients[i]!.read());
    step.dispose();
    return { loss, found };
  }

  /** The same loss in float64. */
  function referenceLoss(values: ReadonlyMap<string, Float64Array>, records: readonly number[]): number {
    const losses = records.map((index) =>
      lossReference(
        logitsReference(TINY, weights, 1, record(activations, index), { values, scale }),
        LABELS[index]!,
      ),
    );
    return losses.reduce((a, b) => a + b, 0) / records.length;
  }

  it('are the central differences of the float64 reference', async () => {
    const { loss, found } = await deviceGradients(activations, new Float32Array(BATCH).fill(1));
    const values = new Map(
      [...randomStage(LAYERS, 12)].map(([name, v]) => [name, Float64Array.from(v)] as const),
    );
    const records = [0, 1, 2];
    expect(Math.abs(loss / referenceLoss(values, records) - 1)).toBeLessThan(1e-5);
    const h = 1e-5;
    expect(found.size).toBe(2 * 2 * 2 + 2);
    for (const [name, gradient] of found) {
      const v = values.get(name)!;
      const expected = v.map((start, i) => {
        v[i] = start + h;
        const above = referenceLoss(values, records);
        v[i] = start - h;
        const below = referenceLoss(values, records);
        v[i] = start;
        return (above - below) / (2 * h);
      });
      expect([name, relativeError(gradient, expected) < 2e-5]).toEqual([name, true]);
    }
  });

  it('leave rows of weight zero out, whatever they hold', async () => {
    const two = Float32Array.of(1, 1, 0);
    const zero = activations.slice().fill(0, 2 * ROW);
    const junk = activations.slice();
    junk.set(uniformValues(ROW, 1000, [6, 6], 0), 2 * ROW);
    const [a, b] = [await deviceGradients(zero, two), await deviceGradients(junk, two)];
    expect(b.loss).toBe(a.loss);
    for (const [name, gradient] of a.found)
      expect([name, sameBits(gradient, b.found.get(name)!)]).toEqual([name, true]);
    const values = new Map([...randomStage(LAYERS, 12)].map(([n, v]) => [n, Float64Array.from(v)]));
    expect(Math.abs(a.loss / referenceLoss(values, [0, 1]) - 1)).toBeLessThan(1e-5);
  });
});
