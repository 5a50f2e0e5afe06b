// Against PEFT itself, which loads what is exported here and saves what is imported here: tools/reference/peft_exchange.py.
// S3T_WRITE_REFERENCE=1 writes the exported adapters anew, for that script to read.

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Device, scope, type Tensor, tensor } from '@s3t/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LayerAdapter } from '../adapter.ts';
import type { Inputs } from '../architecture.ts';
import { readJson } from '../checkpoint/open-tensors.ts';
import { type BaseModel, loadBaseModel } from '../model.ts';
import { parseSafetensors, toFloat32 } from '../safetensors.ts';
import { placeStage, type StageForm, type StageValues } from '../stage.ts';
import { randomStage, relativeError } from '../testing/tiny.ts';
import type { AdapterOptions } from './adapter-config.ts';
import { readAdapter, writeAdapter } from './adapter-folder.ts';

const REFERENCE = fileURLToPath(new URL('../../../../tools/reference', import.meta.url));
const RECORDS = 6;
const LORA = { rank: 4, alpha: 8, rslora: true, dropout: 0.1 };

interface Case {
  base: 'vit' | 'roberta';
  targets: string[];
  /** Of the stages of a stack, top-down. */
  groups: number[][];
  taskType: AdapterOptions['taskType'];
}

/** By the names of their folders. */
const EXPORTED: Record<string, Case> = {
  'vit-names': {
    base: 'vit',
    targets: ['query', 'value'],
    groups: [
      [4, 3],
      [2, 1],
    ],
    taskType: null,
  },
  'vit-paths': { base: 'vit', targets: ['query', 'output.dense'], groups: [[4], [3]], taskType: null },
  roberta: { base: 'roberta', targets: ['query', 'value'], groups: [[3], [2]], taskType: 'SEQ_CLS' },
};

let device: Device;
const bases = new Map<string, BaseModel>();
beforeAll(async () => {
  device = await Device.open();
  for (const name of ['vit', 'roberta'])
    bases.set(name, await loadBaseModel(device, join(REFERENCE, name), { maxLength: 12 }));
});
afterAll(() => device.close());

const tensorsOf = async (folder: string) => {
  const file = join(REFERENCE, folder, 'reference.safetensors');
  return parseSafetensors(new Uint8Array(await readFile(file)), file).tensors;
};

/** The records of the references of a base. */
async function inputsOf(base: string): Promise<Inputs> {
  if (base === 'vit') {
    const pixels = toFloat32((await tensorsOf('vit')).get('pixels')!, 'pixels', 'vit');
    return { pixels: tensor(device, pixels, [RECORDS, 3, 16, 16]) };
  }
  const rows = await readJson(join(REFERENCE, base, 'reference.json'));
  const placed = ['ids', 'mask', 'typeIds'].map((name) => {
    const values = Uint32Array.from((rows[name] as number[][]).flat());
    return [name, tensor(device, values, [RECORDS, values.length / RECORDS])];
  });
  return Object.fromEntries(placed);
}

const formOf = (base: string, lora: StageForm['lora']): StageForm => ({
  architecture: bases.get(base)!.network.architecture,
  lora,
  outputs: 5,
});

/** The logits with adapters on some layers and their head. */
async function logitsOf(base: string, form: StageForm, layers: readonly number[], values: StageValues) {
  const { network } = bases.get(base)!;
  const { stage } = placeStage(device, form, layers, values, 'serve');
  const inputs = await inputsOf(base);
  const logits = scope(() => {
    let x: Tensor = network.embed(inputs);
    for (let layer = 0; layer < form.architecture.layers; layer++) {
      const adapter: LayerAdapter | undefined = stage.adapters.get(layer);
      x = network.layer(layer, x, { inputs, adapter });
    }
    return network.logits(x, stage.head);
  });
  return logits.read();
}

const logitsOfPeft = async (name: string) =>
  toFloat32((await tensorsOf('peft')).get(`${name}.logits`)!, name, 'peft');

describe.each(Object.entries(EXPORTED))('the stack %s', (name, { base, targets, groups, taskType }) => {
  it('is exported as PEFT read it, and has the logits that PEFT then computed', async () => {
    const form = formOf(base, { ...LORA, targets });
    const stages = groups.map((layers, i) => ({ layers, values: randomStage(layers, i + 1, form) }));
    const committed = join(REFERENCE, 'peft', name);
    const options = { base: `tools/reference/${base}`, taskType };
    if (process.env.S3T_WRITE_REFERENCE) await writeAdapter(committed, form, stages, options);
    const folder = await mkdtemp(join(tmpdir(), 's3t-peft-'));
    await writeAdapter(folder, form, stages, options);
    for (const file of ['adapter_config.json', 'adapter_model.safetensors'])
      expect((await readFile(join(folder, file))).equals(await readFile(join(committed, file)))).toBe(true);
    const values = await readAdapter(folder, form, groups.flat());
    await rm(folder, { recursive: true });
    const error = relativeError(await logitsOf(base, form, groups.flat(), values), await logitsOfPeft(name));
    expect(error).toBeLessThan(1e-5);
  });
});

it.each([
  ['saved-vit', 'vit', [0, 1, 2, 3, 4]],
  ['saved-roberta', 'roberta', [1, 3]],
])('reads %s, which PEFT saved, with the logits that PEFT computed', async (name, base, layers) => {
  const lora = { rank: 3, alpha: 6, rslora: false, dropout: 0, targets: ['query', 'value'] };
  const form = formOf(base, lora);
  const values = await readAdapter(join(REFERENCE, 'peft', name), form, layers);
  const error = relativeError(await logitsOf(base, form, layers, values), await logitsOfPeft(name));
  expect(error).toBeLessThan(1e-5);
});
