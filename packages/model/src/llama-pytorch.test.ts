// Against PyTorch, transformers and PEFT: the numbers of tools/reference/llama.py.

import { Device, gradients, scope, type Tensor, tensor } from '@s3t/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { baseActivations } from './activations.ts';
import type { LayerAdapter } from './adapter.ts';
import {
  decoderLayer,
  embedTokens,
  languageModelLogits,
  languageModelLoss,
  llamaNetwork,
  nextTokens,
} from './llama.ts';
import type { BaseModel } from './model.ts';
import { startStage } from './stage.ts';
import { trainStage } from './stage-training.ts';
import { type LlamaReference, llamaReference } from './testing/llama-reference.ts';
import { errorsOf, relativeError } from './testing/tiny.ts';

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

  const noted = errorsOf(name);

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
    expect(noted('logits', textError(await found.logits.read(), numbers('base.logits')))).toBeLessThan(1e-5);
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
    expect(noted('logits', textError(await found.logits.read(), numbers('adapter.logits')))).toBeLessThan(
      1e-5,
    );
    expect(relativeError(await found.loss.read(), numbers('adapter.loss'))).toBeLessThan(1e-5);
    for (const [i, of] of names.entries())
      expect([
        of,
        noted('gradients', relativeError(await found.gradients[i]!.read(), expected.get(of)!)) < 1e-4,
      ]).toEqual([of, true]);
  });

  /** A stage of the reference's, trained on texts of which some tokens count. */
  async function train(counting: Float32Array<ArrayBuffer>) {
    const { config, weights, about, named } = reference;
    const base: BaseModel = {
      device,
      folder: name,
      digest: '',
      network: llamaNetwork(config, weights, TOKENS),
      reads: 'text',
      buckets: [TOKENS],
      lengthOf: () => TOKENS,
      parameters: [],
      prefix: '',
      encode: () => ({}),
    };
    const ids = texts();
    const lowest = Math.min(...about.trained);
    const inputs = (record: number) => ({ ids: ids.subarray(record * TOKENS, (record + 1) * TOKENS) });
    const rows = (await baseActivations(base, RECORDS, inputs, [lowest])).get(lowest)!;
    const size = TOKENS * config.hidden_size;
    const losses: (number | null)[] = [];
    const form = { architecture: base.network.architecture, lora: about.lora, outputs: 0 };
    const values = await trainStage(
      base,
      {
        form,
        objective: 'causal-lm',
        training: about.training,
        key: about.key,
        layers: about.trained,
        prefix: [{ layers: about.frozen, values: named('adapter') }],
        records: RECORDS,
        activation: (record, target) => target.set(rows.subarray(record * size, (record + 1) * size)),
        labels: asked().labels,
        weights: counting,
        lossEvery: 1,
        order: (epoch) => Array.from({ length: RECORDS }, (_, i) => (i + epoch) % RECORDS),
      },
      ({ loss }) => losses.push(loss),
    );
    return { form, values, losses };
  }

  it('trains a stage as PEFT and torch.optim.AdamW do: the ten losses, and the values afterwards', async () => {
    const { about, named } = reference;
    const { values, losses } = await train(asked().weights);
    expect(losses.length).toBe(10);
    expect(noted('losses', relativeError(losses as number[], about.losses))).toBeLessThan(1e-4);
    const expected = named('trained');
    expect([...values.keys()].sort()).toEqual([...expected.keys()].sort());
    for (const [of, value] of values)
      expect([of, relativeError(value, expected.get(of)!) < 1e-3]).toEqual([of, true]);
  });

  it('makes no step of a batch of which no token counts', async () => {
    const { about } = reference;
    const { form, values, losses } = await train(new Float32Array(RECORDS * TOKENS));
    expect(losses).toEqual(Array(10).fill(null));
    expect(values).toEqual(startStage(form, about.trained, about.key, null));
  });
});
