import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Device, empty, scope, type Tensor, tensor, uniformValues } from '@s3t/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Head } from '../architecture.ts';
import { openTensors, readJson } from '../checkpoint/open-tensors.ts';
import { ModelError } from '../errors.ts';
import { type BaseModel, type BaseOptions, loadBaseModel } from '../model.ts';
import { placeStage, type Stage, type StageForm } from '../stage.ts';
import { randomStage, relativeError, sameBits } from '../testing/tiny.ts';
import { writeMergedModel } from './merged-model.ts';

const BASE = fileURLToPath(new URL('../../../../tools/reference/vit', import.meta.url));
const LABELS = ['a', 'b', 'c', 'd', 'e'];
const RECORDS = 6;

let device: Device;
let folder: string;
beforeAll(async () => {
  device = await Device.open();
  folder = await mkdtemp(join(tmpdir(), 's3t-merged-'));
});
afterAll(async () => {
  device.close();
  await rm(folder, { recursive: true });
});

const logitsOf = ({ network }: BaseModel, head: Head, adapters?: Stage['adapters']) => {
  const pixels = tensor(device, uniformValues(RECORDS * 3 * 16 * 16, 1, [3, 4], 0), [RECORDS, 3, 16, 16]);
  const logits = scope(() => {
    let x: Tensor = network.embed({ pixels });
    for (let layer = 0; layer < network.architecture.layers; layer++)
      x = network.layer(layer, x, { inputs: {}, adapter: adapters?.get(layer) });
    return network.logits(x, head);
  });
  return logits.read();
};

async function merge(name: string, options: BaseOptions) {
  const base = await loadBaseModel(device, BASE, options);
  const lora = { rank: 4, alpha: 8, rslora: true, dropout: 0.1, targets: ['query', 'output.dense'] };
  const form: StageForm = { architecture: base.network.architecture, lora, outputs: 5 };
  const stages = [
    { layers: [4], values: randomStage([4], 1, form) },
    { layers: [3], values: randomStage([3], 2, form) },
  ];
  const out = join(folder, name);
  await writeMergedModel(out, base, form, stages, LABELS);
  const values = new Map(stages.flatMap((stage) => [...stage.values]));
  const { stage } = placeStage(device, form, [4, 3], values, 'serve');
  return { base, out, stage };
}

describe('a merged model', () => {
  it('has the logits of the stack, its labels, and what went with the base', async () => {
    const { base, out, stage } = await merge('plain', {});
    const merged = await loadBaseModel(device, out);
    const expected = await logitsOf(base, stage.head, stage.adapters);
    expect(relativeError(await logitsOf(merged, stage.head), expected)).toBeLessThan(1e-5);
    expect(relativeError(await logitsOf(base, stage.head), expected)).toBeGreaterThan(0.1);
    expect(await readJson(join(out, 'config.json'))).toMatchObject({
      architectures: ['ViTForImageClassification'],
      id2label: { 0: 'a', 4: 'e' },
      label2id: { a: 0, e: 4 },
      torch_dtype: 'float32',
      hidden_size: 32,
    });
    const companion = 'preprocessor_config.json';
    expect(await readFile(join(out, companion))).toEqual(await readFile(join(BASE, companion)));
    const [tensors, own] = [await openTensors(out), await openTensors(BASE)];
    expect([...tensors.names()].sort()).toEqual([...own.names()].sort());
    expect(
      sameBits(await tensors.read('classifier.weight'), await stage.head['classifier.weight']!.read()),
    ).toBe(true);
    for (const bare of ['vit.embeddings.cls_token', 'vit.encoder.layer.3.attention.attention.key.weight'])
      expect(sameBits(await tensors.read(bare), await own.read(bare))).toBe(true);
    await tensors.close();
    await own.close();
  });

  it('of a quantised base computes what the stack does on it', async () => {
    const { base, out, stage } = await merge('quantised', { quantization: 'int4' });
    const merged = await loadBaseModel(device, out);
    const expected = await logitsOf(base, stage.head, stage.adapters);
    expect(relativeError(await logitsOf(merged, stage.head), expected)).toBeLessThan(1e-5);
  });

  it('leaves nothing that was learnt in memory that something else may get', async () => {
    const base = await loadBaseModel(device, BASE);
    const lora = { rank: 4, alpha: 8, rslora: true, dropout: 0, targets: ['query'] };
    const form: StageForm = { architecture: base.network.architecture, lora, outputs: 5 };
    const stages = [4, 3].map((layer) => ({ layers: [layer], values: randomStage([layer], layer, form) }));
    const out = join(folder, 'forgotten');
    await writeMergedModel(out, base, form, stages, LABELS);
    // What the pool hands out next, as large as a weight and never written.
    const next = Array.from({ length: 50 }, () => empty(device, [32, 32]));
    const found = await Promise.all(next.map((each) => each.read()));
    for (const each of next) each.dispose();
    const [tensors, own] = [await openTensors(out), await openTensors(BASE)];
    for (const layer of [3, 4]) {
      const name = `vit.encoder.layer.${layer}.attention.attention.query.weight`;
      const [merged, before] = [await tensors.read(name), await own.read(name)];
      const change = merged.map((value, i) => value - before[i]!);
      for (const values of found)
        for (const learnt of [merged, change]) expect(relativeError(values, learnt)).toBeGreaterThan(0.01);
    }
    await tensors.close();
    await own.close();
  });

  it('is not made of a base that changed', async () => {
    const base = await loadBaseModel(device, BASE);
    const form: StageForm = {
      architecture: base.network.architecture,
      lora: { rank: 1, alpha: 1, rslora: true, dropout: 0, targets: ['query'] },
      outputs: 5,
    };
    const stages = [{ layers: [4], values: randomStage([4], 1, form) }];
    const before = device.memory().liveBytes;
    await expect(
      writeMergedModel(join(folder, 'changed'), { ...base, digest: 'other' }, form, stages, LABELS),
    ).rejects.toThrow(new ModelError(`${BASE}: changed since it was loaded; put the old base back`));
    expect(device.memory().liveBytes).toBe(before);
  });
});
