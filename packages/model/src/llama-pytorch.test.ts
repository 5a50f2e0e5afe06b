// Against PyTorch, transformers and PEFT: the numbers of tools/reference/llama.py.

import {
  AdamW,
  capture,
  Device,
  gradients,
  learningRateAt,
  scope,
  type Tensor,
  tensor,
  uniformValues,
  zeros,
} from '@s3t/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LayerAdapter } from './adapter.ts';
import {
  decoderLayer,
  embedTokens,
  LLAMA_TARGETS,
  languageModelLogits,
  languageModelLoss,
  nextTokens,
} from './llama.ts';
import { type LlamaReference, llamaReference, parameterName } from './testing/llama-reference.ts';
import { relativeError } from './testing/tiny.ts';

const [RECORDS, TOKENS, VOCABULARY, LAYERS] = [6, 12, 128, 4];

let device: Device;
beforeAll(async () => {
  device = await Device.open();
});
afterAll(() => device.close());

describe.each(['llama2', 'llama3'])('%s', (name) => {
  let reference: LlamaReference;
  beforeAll(async () => {
    reference = await llamaReference(device, name, TOKENS);
  });

  const texts = () => Uint32Array.from(reference.integers('ids'));
  const asked = () =>
    nextTokens(
      texts(),
      reference.integers('labels').map((label) => (label === -100 ? 0 : 1)),
      TOKENS,
    );
  const batchOf = (ids: Uint32Array<ArrayBuffer>, rows: number) => tensor(device, ids, [rows, TOKENS]);

  /** What enters each layer, and last what leaves the top one. */
  function streamOf(ids: Tensor, adapters?: ReadonlyMap<number, LayerAdapter>): Tensor[] {
    const { config, weights } = reference;
    const stream = [embedTokens(weights, ids)];
    for (let layer = 0; layer < LAYERS; layer++)
      stream.push(
        decoderLayer(config, weights.layers[layer]!, stream.at(-1)!, { adapter: adapters?.get(layer) }),
      );
    return stream;
  }

  function lossOf(top: Tensor): Tensor {
    const { config, weights } = reference;
    const { labels, weights: counting } = asked();
    return languageModelLoss(
      config,
      weights,
      top,
      batchOf(labels, RECORDS),
      tensor(device, counting, [RECORDS, TOKENS]),
    );
  }

  /** The error over the tokens of the texts: transformers masks what fills them up, here nothing looks at it. */
  function textError(found: Float32Array, expected: Float32Array): number {
    const width = found.length / RECORDS / TOKENS;
    const isText = (_: number, i: number) =>
      Math.floor(i / width) % TOKENS < reference.about.lengths[Math.floor(i / width / TOKENS)]!;
    return relativeError(found.filter(isText), expected.filter(isText));
  }

  it('enters every layer with the hidden states of transformers, and gives its logits and loss', async () => {
    const { config, weights, numbers } = reference;
    const stream = scope(() => streamOf(batchOf(texts(), RECORDS)));
    const hidden = numbers('base.hidden');
    const size = hidden.length / LAYERS;
    for (let layer = 0; layer < LAYERS; layer++)
      expect(
        textError(await stream[layer]!.read(), hidden.subarray(layer * size, (layer + 1) * size)),
      ).toBeLessThan(1e-5);
    const top = stream[LAYERS]!;
    const found = scope(() => ({ logits: languageModelLogits(config, weights, top), loss: lossOf(top) }));
    expect(found.logits.shape).toEqual([RECORDS, TOKENS, VOCABULARY]);
    expect(textError(await found.logits.read(), numbers('base.logits'))).toBeLessThan(1e-5);
    expect(relativeError(await found.loss.read(), numbers('base.loss'))).toBeLessThan(1e-5);
  });

  it('gives the logits, the loss and the gradients of PEFT', async () => {
    const { config, weights, about, numbers, named, place, adaptersOf } = reference;
    const parameters = place(named('adapter'), 'train');
    const adapters = adaptersOf([...about.frozen, ...about.trained], parameters);
    const expected = named('gradient');
    const names = [...expected.keys()];
    expect(names.length).toBe(3 * 7 * 2);
    const ids = batchOf(texts(), RECORDS);
    const found = scope(() => {
      const top = streamOf(ids, adapters)[LAYERS]!;
      const loss = lossOf(top);
      return {
        logits: languageModelLogits(config, weights, top).detach(),
        loss,
        gradients: gradients(
          loss,
          names.map((of) => parameters.get(of)!),
        ),
      };
    });
    expect(textError(await found.logits.read(), numbers('adapter.logits'))).toBeLessThan(1e-5);
    expect(relativeError(await found.loss.read(), numbers('adapter.loss'))).toBeLessThan(1e-5);
    for (const [i, of] of names.entries())
      expect([of, relativeError(await found.gradients[i]!.read(), expected.get(of)!) < 1e-4]).toEqual([
        of,
        true,
      ]);
  });

  it('trains a stage as PEFT and torch.optim.AdamW do: the ten losses, and the values afterwards', async () => {
    const { config, weights, about, named, place, adaptersOf, shapeOf } = reference;
    const { batchSize, epochs, weightDecay, clipNorm } = about.training;
    const [frozen, expected] = [place(named('adapter'), 'serve'), named('trained')];
    const names = about.trained.flatMap((layer) =>
      LLAMA_TARGETS.flatMap(({ path }) => ['A', 'B'].map((matrix) => parameterName(layer, path, matrix))),
    );
    expect(names.toSorted()).toEqual([...expected.keys()].sort());
    const start = names.map((of, stream) => {
      const [{ length }, bound] = [expected.get(of)!, 1 / Math.sqrt(shapeOf(of)[1])];
      const isDown = of.includes('lora_A');
      return [
        of,
        isDown ? uniformValues(length, bound, about.key, stream) : new Float32Array(length),
      ] as const;
    });
    const parameters = place(new Map(start), 'train');
    const adapters = new Map([...adaptersOf(about.frozen, frozen), ...adaptersOf(about.trained, parameters)]);
    const trained = [...parameters.values()];
    const optimiser = new AdamW(device, trained, { weightDecay, clipNorm: clipNorm! });
    // One shape for all batches: what is missing from one is rows of weight zero.
    const shape = [batchSize, TOKENS];
    const inputs = {
      ids: zeros(device, shape, { dtype: 'u32' }),
      labels: zeros(device, shape, { dtype: 'u32' }),
      weights: zeros(device, shape),
    };
    const step = capture(device, () => {
      const top = streamOf(inputs.ids, adapters)[LAYERS]!;
      const loss = languageModelLoss(config, weights, top, inputs.labels, inputs.weights);
      optimiser.apply(gradients(loss, trained));
      return loss;
    });
    const [ids, { labels, weights: counting }] = [texts(), asked()];
    const rowsOf = <T extends Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>>(
      all: T,
      rows: number[],
    ): T => {
      const target = all.slice(0, batchSize * TOKENS).fill(0) as T;
      for (const [i, row] of rows.entries())
        target.set(all.subarray(row * TOKENS, (row + 1) * TOKENS), i * TOKENS);
      return target;
    };
    const losses: number[] = [];
    const steps = about.losses.length;
    for (let epoch = 0; epoch < epochs; epoch++)
      for (let from = 0; from < RECORDS; from += batchSize) {
        const order = Array.from({ length: RECORDS }, (_, i) => (i + epoch) % RECORDS);
        const rows = order.slice(from, from + batchSize);
        inputs.ids.write(rowsOf(ids, rows));
        inputs.labels.write(rowsOf(labels, rows));
        inputs.weights.write(rowsOf(counting, rows));
        optimiser.begin(learningRateAt(losses.length, { ...about.training, steps }));
        step.replay();
        losses.push(await step.outputs.item());
      }
    expect(relativeError(losses, about.losses)).toBeLessThan(1e-4);
    for (const [of, parameter] of parameters)
      expect([of, relativeError(await parameter.read(), expected.get(of)!) < 1e-3]).toEqual([of, true]);
    step.dispose();
  });
});
