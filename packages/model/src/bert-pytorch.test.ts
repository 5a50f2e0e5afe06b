// Against PyTorch, transformers and PEFT: the numbers of tools/reference/bert.py.

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
  meanSquaredError,
  scope,
  type Tensor,
  tensor,
  uniformValues,
  withoutGradients,
} from '@s3t/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LayerAdapter, LoraPair } from './adapter.ts';
import { placeWeights } from './base-weights.ts';
import {
  BERT_TARGETS,
  type BertConfig,
  type BertWeights,
  classify,
  embed,
  encoderLayer,
  headParameters,
  loadBert,
  parseBertConfig,
  type TextTensors,
} from './bert.ts';
import { openTensors, readJson } from './checkpoint/open-tensors.ts';
import { type LoraConfig, loraScale } from './lora.ts';
import { parseSafetensors, type StoredTensor, toFloat32 } from './safetensors.ts';
import type { TrainingConfig } from './stage-training.ts';
import { relativeError, sameBits, sizeOf, type Values } from './testing/tiny.ts';
import { loadTokenizer } from './text/load-tokenizer.ts';
import type { TextBatch, TextInput } from './text/tokenizer.ts';

const RECORDS = 6;
const TOP = 3;

interface About {
  texts: TextInput[];
  /** Tokens of a row. */
  length: number;
  ids: number[][];
  mask: number[][];
  typeIds: number[][];
  labels: number[];
  numbers: number[];
  losses: Record<string, number[]>;
  lora: LoraConfig;
  training: TrainingConfig;
  /** Layers of the frozen group and of the trained one. */
  frozen: number[];
  trained: number[];
  key: [number, number];
}

let device: Device;
beforeAll(async () => {
  device = await Device.open();
});
afterAll(() => device.close());

describe.each(['bert', 'roberta'] as const)('%s', (name) => {
  const folder = fileURLToPath(new URL(`../../../tools/reference/${name}`, import.meta.url));
  let config: BertConfig;
  let weights: BertWeights;
  let about: About;
  let batch: TextBatch;
  let baseHead: Map<string, Tensor>;
  let stored: Map<string, StoredTensor>;
  const numbers = (of: string) => toFloat32(stored.get(of)!, of, 'reference.safetensors');
  /** The values of a kind ("classification.gradient"), by the names PEFT gives them. */
  const named = (kind: string): Values => {
    const names = [...stored.keys()].filter((each) => each.startsWith(`${kind}.base_model.`));
    return new Map(names.map((each) => [each.slice(kind.length + 1), numbers(each)]));
  };

  beforeAll(async () => {
    config = parseBertConfig(await readJson(join(folder, 'config.json')), join(folder, 'config.json'));
    about = (await readJson(join(folder, 'reference.json'))) as unknown as About;
    const file = new Uint8Array(await readFile(join(folder, 'reference.safetensors')));
    stored = parseSafetensors(file, 'reference.safetensors').tensors;
    const checkpoint = await openTensors(folder);
    weights = await loadBert(device, config, checkpoint);
    baseHead = await placeWeights(device, checkpoint, headParameters(config, 5), '');
    await checkpoint.close();
    const tokenizer = await loadTokenizer(folder);
    batch = tokenizer.encodeBatch(about.texts, { length: about.length, padId: config.pad_token_id });
  });

  /** Some records on the device, their rows cut to a number of tokens. */
  const textsOf = (records: readonly number[], length = about.length): TextTensors => {
    const rows = (values: Uint32Array) => {
      const cut = records.map((r) => values.subarray(r * about.length, r * about.length + length));
      return tensor(device, Uint32Array.from(cut.flatMap((row) => [...row])), [records.length, length]);
    };
    return { ids: rows(batch.ids), mask: rows(batch.mask), typeIds: rows(batch.typeIds) };
  };
  const every = Array.from({ length: RECORDS }, (_, i) => i);

  interface Placed {
    adapters: Map<number, LayerAdapter>;
    head: Map<string, Tensor>;
    /** By the names PEFT gives them. */
    parameters: Map<string, Tensor>;
  }

  /** Puts the adapters of some layers, and the head, on the device. */
  const place = (values: Values, layers: readonly number[], labels: number, trainable: boolean): Placed => {
    const parameters = new Map<string, Tensor>();
    const put = (parameter: string, shape: readonly number[]) => {
      const placed = tensor(device, values.get(parameter)!, shape, { trainable });
      parameters.set(parameter, placed);
      return placed;
    };
    const { rank, targets } = about.lora;
    const used = BERT_TARGETS.filter((target) => targets.includes(target.name));
    const adapters = layers.map((layer): [number, LayerAdapter] => {
      const pairs: Record<string, LoraPair> = {};
      for (const { name: target, path, inputs, outputs } of used) {
        const at = `base_model.model.${name}.encoder.layer.${layer}.${path}`;
        pairs[target] = {
          down: put(`${at}.lora_A.weight`, [rank, config[inputs]]),
          up: put(`${at}.lora_B.weight`, [config[outputs], rank]),
        };
      }
      return [layer, { pairs, scale: loraScale(about.lora) }];
    });
    const head = headParameters(config, labels).map(
      (each) => [each.name, put(`base_model.model.${each.name}`, each.shape)] as const,
    );
    return { adapters: new Map(adapters), head: new Map(head), parameters };
  };

  /** What enters each of the layers, of the bare base. */
  const enteringLayers = (texts: TextTensors, top: number): Tensor[] => {
    const entering = [embed(config, weights, texts)];
    for (let layer = 0; layer < top; layer++)
      entering.push(encoderLayer(config, weights.layers[layer]!, entering[layer]!, { mask: texts.mask }));
    return entering;
  };

  /** The logits of what enters layer `from`; in the top layer, as in training, the first token's row is computed alone. */
  const logitsOf = (
    x: Tensor,
    from: number,
    mask: Tensor,
    { adapters, head }: { adapters?: ReadonlyMap<number, LayerAdapter>; head: ReadonlyMap<string, Tensor> },
  ): Tensor => {
    let y = x;
    for (let layer = from; layer <= TOP; layer++) {
      const options = { adapter: adapters?.get(layer), mask, onlyFirstToken: layer === TOP };
      y = encoderLayer(config, weights.layers[layer]!, y, options);
    }
    return classify(config, weights, y, head);
  };
  /** The logits of the bare base, all rows of the top layer computed. */
  const baseLogits = (texts: TextTensors, own = config) =>
    scope(() => {
      let x = embed(own, weights, texts);
      for (const layer of weights.layers) x = encoderLayer(own, layer, x, { mask: texts.mask });
      return classify(own, weights, x, baseHead);
    });

  it('reads the texts as transformers does', () => {
    expect([...batch.ids]).toEqual(about.ids.flat());
    expect([...batch.mask]).toEqual(about.mask.flat());
    expect([...batch.typeIds]).toEqual(about.typeIds.flat());
  });

  it('enters every layer with the hidden states of transformers, those of padding too', async () => {
    const found = enteringLayers(textsOf(every), TOP);
    const expected = numbers('base.hidden');
    for (const [layer, x] of found.entries()) {
      const rows = expected.subarray(layer * x.size, (layer + 1) * x.size);
      expect(relativeError(await x.read(), rows)).toBeLessThan(1e-5);
    }
  });

  it('gives the logits of the base, with every activation', async () => {
    const texts = textsOf(every);
    expect(relativeError(await baseLogits(texts).read(), numbers('base.logits'))).toBeLessThan(1e-5);
    for (const hidden_act of ['gelu_new', 'relu'] as const) {
      const logits = baseLogits(texts, { ...config, hidden_act });
      expect(relativeError(await logits.read(), numbers(`${hidden_act}.logits`))).toBeLessThan(1e-5);
    }
  });

  if (name === 'roberta')
    it('gives an XLM-RoBERTa the same, as transformers does', async () => {
      const texts = textsOf(every);
      const xlm = parseBertConfig({ ...config, model_type: 'xlm-roberta' }, 'config.json');
      expect(sameBits(await baseLogits(texts, xlm).read(), await baseLogits(texts).read())).toBe(true);
    });

  it('gives a text the same bits with padding and without, whatever rows of the top layer are computed', async () => {
    const all = await baseLogits(textsOf(every)).read();
    const record = 2;
    const alone = textsOf([record], about.mask[record]!.filter((shown) => shown === 1).length);
    expect(alone.ids.size).toBeLessThan(about.length);
    const expected = all.slice(record * 5, (record + 1) * 5);
    expect(sameBits(await baseLogits(alone).read(), expected)).toBe(true);
    const firstTokens = logitsOf(embed(config, weights, alone), 0, alone.mask, { head: baseHead });
    expect(sameBits(await firstTokens.read(), expected)).toBe(true);
  });

  describe.each(name === 'roberta' ? ['classification', 'regression'] : ['classification'])('%s', (task) => {
    const labels = task === 'regression' ? 1 : 5;
    /** The mean loss of some records, whose labels or numbers are put on the device. */
    const lossFor = (records: readonly number[]) => {
      const count = records.length;
      const ones = fill(device, [count], 1);
      const of = (all: readonly number[]) => records.map((record) => all[record]!);
      const targets =
        labels === 1
          ? tensor(device, Float32Array.from(of(about.numbers)), [count, 1])
          : tensor(device, Uint32Array.from(of(about.labels)));
      const loss = labels === 1 ? meanSquaredError : crossEntropy;
      return (logits: Tensor) => loss(logits, targets, ones);
    };

    it('gives the logits, the loss and the gradients of PEFT', async () => {
      const layers = [...about.frozen, ...about.trained];
      const { adapters, head, parameters } = place(named(`${task}.adapter`), layers, labels, true);
      const expected = named(`${task}.gradient`);
      expect([...parameters.keys()].sort()).toEqual([...expected.keys()].sort());
      const [texts, lossOf] = [textsOf(every), lossFor(every)];
      const step = capture(device, () => {
        const logits = logitsOf(embed(config, weights, texts), 0, texts.mask, { adapters, head });
        const loss = lossOf(logits);
        return { logits, loss, gradients: gradients(loss, [...parameters.values()]) };
      });
      step.replay();
      const { logits, loss, gradients: found } = step.outputs;
      expect(relativeError(await logits.read(), numbers(`${task}.logits`))).toBeLessThan(1e-5);
      expect(relativeError(await loss.read(), numbers(`${task}.loss`))).toBeLessThan(1e-5);
      for (const [i, parameter] of [...parameters.keys()].entries()) {
        const error = relativeError(await found[i]!.read(), expected.get(parameter)!);
        expect([parameter, error < 1e-4]).toEqual([parameter, true]);
      }
    });

    it('trains a stage with the ten losses, and to the values, of PEFT and torch.optim.AdamW', async () => {
      const above = named(`${task}.adapter`);
      const start = new Map(above);
      const expected = named(`${task}.trained`);
      const frozen = place(above, about.frozen, labels, false);
      startAdapters(start);
      const stage = place(start, about.trained, labels, true);
      const adapters = new Map([...frozen.adapters, ...stage.adapters]);
      const trained = [...stage.parameters.values()];
      const { batchSize, epochs, weightDecay, clipNorm } = about.training;
      const optimiser = new AdamW(device, trained, { weightDecay, clipNorm: clipNorm! });
      const losses: number[] = [];
      const steps = about.losses[task]!.length;
      const lowest = Math.min(...about.trained);
      for (let epoch = 0; epoch < epochs; epoch++)
        for (let from = 0; from < RECORDS; from += batchSize) {
          const records = every.map((i) => (i + epoch) % RECORDS).slice(from, from + batchSize);
          optimiser.begin(learningRateAt(losses.length, { ...about.training, steps }));
          const loss = scope(() => {
            const texts = textsOf(records);
            const x = withoutGradients(() => enteringLayers(texts, lowest).at(-1)!);
            const logits = logitsOf(x, lowest, texts.mask, { adapters, head: stage.head });
            const mean = lossFor(records)(logits);
            optimiser.apply(gradients(mean, trained));
            return mean;
          });
          losses.push(await loss.item());
        }
      expect(losses.length).toBe(10);
      expect(relativeError(losses, about.losses[task]!)).toBeLessThan(1e-4);
      expect([...stage.parameters.keys()].sort()).toEqual([...expected.keys()].sort());
      for (const [parameter, value] of stage.parameters) {
        const error = relativeError(await value.read(), expected.get(parameter)!);
        expect([parameter, error < 1e-3]).toEqual([parameter, true]);
      }
    });
  });

  /** Sets the trained layers' adapters to the start of a stage: A uniform within 1 / sqrt(inputs), B zero. */
  function startAdapters(values: Values): void {
    const { rank, targets } = about.lora;
    let stream = 0;
    for (const layer of about.trained)
      for (const { name: target, path, inputs, outputs } of BERT_TARGETS) {
        if (!targets.includes(target)) continue;
        const at = `base_model.model.${name}.encoder.layer.${layer}.${path}`;
        const [down, up] = [sizeOf([rank, config[inputs]]), sizeOf([config[outputs], rank])];
        values.set(
          `${at}.lora_A.weight`,
          uniformValues(down, 1 / Math.sqrt(config[inputs]), about.key, stream++),
        );
        values.set(`${at}.lora_B.weight`, new Float32Array(up));
        stream++;
      }
  }
});
