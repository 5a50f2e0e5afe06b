// Against PyTorch, transformers and PEFT: the numbers of tools/reference/llama.py.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
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
import { openTensors, readJson } from './checkpoint/open-tensors.ts';
import {
  decoderLayer,
  embedTokens,
  LLAMA_TARGETS,
  type LlamaConfig,
  type LlamaWeights,
  languageModelLogits,
  languageModelLoss,
  loadLlama,
  nextTokens,
  parseLlamaConfig,
} from './llama.ts';
import { type LoraConfig, loraScale } from './lora.ts';
import { parseSafetensors, type StoredTensor, toFloat32 } from './safetensors.ts';
import type { TrainingConfig } from './stage-training.ts';
import { relativeError, type Values } from './testing/tiny.ts';

const [RECORDS, TOKENS, VOCABULARY, LAYERS] = [6, 12, 128, 4];

interface About {
  /** Tokens of each text. */
  lengths: number[];
  losses: number[];
  lora: LoraConfig;
  training: TrainingConfig;
  /** Layers of the frozen group and of the trained one, top-down. */
  frozen: number[];
  trained: number[];
  key: [number, number];
}

/** As PEFT names it. @param matrix A or B */
const parameterName = (layer: number, path: string, matrix: string) =>
  `base_model.model.model.layers.${layer}.${path}.lora_${matrix}.weight`;

let device: Device;
beforeAll(async () => {
  device = await Device.open();
});
afterAll(() => device.close());

describe.each(['llama2', 'llama3'])('%s', (name) => {
  const folder = fileURLToPath(new URL(`../../../tools/reference/llama/${name}`, import.meta.url));
  let config: LlamaConfig;
  let weights: LlamaWeights;
  let about: About;
  let stored: Map<string, StoredTensor>;
  const numbers = (of: string) => toFloat32(stored.get(of)!, of, 'reference.safetensors');
  const words = (of: string) => new Int32Array(stored.get(of)!.bytes.slice().buffer);

  beforeAll(async () => {
    config = parseLlamaConfig(await readJson(join(folder, 'config.json')), 'config.json');
    const store = await openTensors(folder);
    weights = await loadLlama(device, config, store, { positions: TOKENS });
    await store.close();
    about = JSON.parse(await readFile(join(folder, 'reference.json'), 'utf8'));
    const file = new Uint8Array(await readFile(join(folder, 'reference.safetensors')));
    stored = parseSafetensors(file, 'reference.safetensors').tensors;
  });

  /** The values of a kind ("adapter", "gradient", "trained"), by the names PEFT gives them. */
  function named(kind: string): Values {
    const names = [...stored.keys()].filter((each) => each.startsWith(`${kind}.base_model.`));
    return new Map(names.map((each) => [each.slice(kind.length + 1), numbers(each)]));
  }

  /** The adapters of some layers, out of tensors by the names PEFT gives them. */
  function adaptersOf(
    layers: readonly number[],
    parameter: (name: string) => Tensor,
  ): Map<number, LayerAdapter> {
    const pairsOf = (layer: number) =>
      LLAMA_TARGETS.map(({ name: target, path }) => {
        const [down, up] = ['A', 'B'].map((matrix) => parameter(parameterName(layer, path, matrix)));
        return [target, { down: down!, up: up! }] as const;
      });
    const scale = loraScale(about.lora);
    return new Map(layers.map((layer) => [layer, { pairs: Object.fromEntries(pairsOf(layer)), scale }]));
  }

  /** A, [rank, inputs], or B, [outputs, rank], of a parameter of PEFT. */
  function shapeOf(parameter: string): number[] {
    const target = LLAMA_TARGETS.find((each) => parameter.includes(`.${each.path}.`))!;
    const { rank } = about.lora;
    return parameter.includes('lora_A') ? [rank, target.inputs(config)] : [target.outputs(config), rank];
  }

  function place(values: Values, trainable: boolean): Map<string, Tensor> {
    const put = ([of, value]: [string, Float32Array<ArrayBuffer>]) =>
      [of, tensor(device, value, shapeOf(of), trainable ? { trainable } : { constant: true })] as const;
    return new Map([...values].map(put));
  }

  const texts = () => Uint32Array.from(words('ids'));
  const asked = () =>
    nextTokens(
      texts(),
      words('labels').map((label) => (label === -100 ? 0 : 1)),
      TOKENS,
    );
  const batchOf = (ids: Uint32Array<ArrayBuffer>, rows: number) => tensor(device, ids, [rows, TOKENS]);

  /** What enters each layer, and last what leaves the top one. */
  function streamOf(ids: Tensor, adapters?: ReadonlyMap<number, LayerAdapter>): Tensor[] {
    const stream = [embedTokens(weights, ids)];
    for (let layer = 0; layer < LAYERS; layer++)
      stream.push(
        decoderLayer(config, weights.layers[layer]!, stream.at(-1)!, { adapter: adapters?.get(layer) }),
      );
    return stream;
  }

  function lossOf(top: Tensor): Tensor {
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
      Math.floor(i / width) % TOKENS < about.lengths[Math.floor(i / width / TOKENS)]!;
    return relativeError(found.filter(isText), expected.filter(isText));
  }

  it('enters every layer with the hidden states of transformers, and gives its logits and loss', async () => {
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
    const parameters = place(named('adapter'), true);
    const adapters = adaptersOf([...about.frozen, ...about.trained], (of) => parameters.get(of)!);
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
    const { batchSize, epochs, weightDecay, clipNorm } = about.training;
    const [frozen, expected] = [place(named('adapter'), false), named('trained')];
    const names = about.trained.flatMap((layer) =>
      LLAMA_TARGETS.flatMap(({ path }) => ['A', 'B'].map((matrix) => parameterName(layer, path, matrix))),
    );
    expect(names.toSorted()).toEqual([...expected.keys()].sort());
    const start = names.map((of, stream) => {
      const [{ length }, bound] = [expected.get(of)!, 1 / Math.sqrt(shapeOf(of)[1]!)];
      const isDown = of.includes('lora_A');
      return [
        of,
        isDown ? uniformValues(length, bound, about.key, stream) : new Float32Array(length),
      ] as const;
    });
    const parameters = place(new Map(start), true);
    const adapters = new Map([
      ...adaptersOf(about.frozen, (of) => frozen.get(of)!),
      ...adaptersOf(about.trained, (of) => parameters.get(of)!),
    ]);
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
