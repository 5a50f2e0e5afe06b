// Against PyTorch, transformers and PEFT: the numbers of tools/reference/bert.py.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  capture,
  crossEntropy,
  Device,
  fill,
  gradients,
  meanSquaredError,
  scope,
  type Tensor,
  tensor,
} from '@s3t/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { baseActivations } from './activations.ts';
import type { LayerAdapter } from './adapter.ts';
import type { Head } from './architecture.ts';
import { placeWeights } from './base-weights.ts';
import {
  type BertConfig,
  type BertWeights,
  bertArchitecture,
  classify,
  embed,
  encoderLayer,
  headParameters,
  loadBert,
  parseBertConfig,
  type TextTensors,
} from './bert.ts';
import { openTensors, readJson } from './checkpoint/open-tensors.ts';
import type { LoraConfig } from './lora.ts';
import { loadBaseModel } from './model.ts';
import { parseSafetensors, type StoredTensor, toFloat32 } from './safetensors.ts';
import { placeStage, type StageForm } from './stage.ts';
import { type TrainingConfig, trainStage } from './stage-training.ts';
import { errorsOf, relativeError, sameBits, type Values } from './testing/tiny.ts';
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
  let baseHead: Head;
  let stored: Map<string, StoredTensor>;
  const noted = errorsOf(name === 'bert' ? 'BERT' : 'RoBERTa');
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
    baseHead = Object.fromEntries(await placeWeights(device, checkpoint, headParameters(config, 5), ''));
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
  const formOf = (outputs: number): StageForm => ({
    architecture: bertArchitecture(config, about.length),
    lora: about.lora,
    outputs,
  });

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
    { adapters, head }: { adapters?: ReadonlyMap<number, LayerAdapter>; head: Head },
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
    expect(
      noted('logits', relativeError(await baseLogits(texts).read(), numbers('base.logits'))),
    ).toBeLessThan(1e-5);
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
      const { stage, parameters } = placeStage(
        device,
        formOf(labels),
        layers,
        named(`${task}.adapter`),
        'train',
      );
      const expected = named(`${task}.gradient`);
      expect([...parameters.keys()].sort()).toEqual([...expected.keys()].sort());
      const [texts, lossOf] = [textsOf(every), lossFor(every)];
      const step = capture(device, () => {
        const logits = logitsOf(embed(config, weights, texts), 0, texts.mask, stage);
        const loss = lossOf(logits);
        return { logits, loss, gradients: gradients(loss, [...parameters.values()]) };
      });
      step.replay();
      const { logits, loss, gradients: found } = step.outputs;
      expect(noted('logits', relativeError(await logits.read(), numbers(`${task}.logits`)))).toBeLessThan(
        1e-5,
      );
      expect(relativeError(await loss.read(), numbers(`${task}.loss`))).toBeLessThan(1e-5);
      for (const [i, parameter] of [...parameters.keys()].entries()) {
        const error = noted('gradients', relativeError(await found[i]!.read(), expected.get(parameter)!));
        expect([parameter, error < 1e-4]).toEqual([parameter, true]);
      }
    });

    it('trains a stage with the ten losses, and to the values, of PEFT and torch.optim.AdamW', async () => {
      const base = await loadBaseModel(device, folder, { maxLength: about.length });
      const lowest = Math.min(...about.trained);
      const encoded = about.texts.map((text) => base.encode({ text }));
      const kept = await baseActivations(base, RECORDS, (record) => encoded[record]!, [lowest]);
      const rows = kept.get(lowest)!;
      const size = rows.length / RECORDS;
      const losses: number[] = [];
      const values = await trainStage(
        base,
        {
          form: formOf(labels),
          objective: labels === 1 ? 'regression' : 'classification',
          training: about.training,
          key: about.key,
          layers: about.trained,
          prefix: [{ layers: about.frozen, values: named(`${task}.adapter`) }],
          records: RECORDS,
          activation: (record, target) => target.set(rows.subarray(record * size, (record + 1) * size)),
          inputs: (record) => encoded[record]!,
          labels: labels === 1 ? about.numbers : about.labels,
          lossEvery: 1,
          order: (epoch) => every.map((i) => (i + epoch) % RECORDS),
        },
        ({ loss }) => losses.push(loss!),
      );
      expect(losses.length).toBe(10);
      expect(noted('losses', relativeError(losses, about.losses[task]!))).toBeLessThan(1e-4);
      const expected = named(`${task}.trained`);
      expect([...values.keys()].sort()).toEqual([...expected.keys()].sort());
      for (const [parameter, value] of values)
        expect([parameter, relativeError(value, expected.get(parameter)!) < 1e-3]).toEqual([parameter, true]);
    });
  });
});
