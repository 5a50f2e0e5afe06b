// Against PEFT itself, which loads what is exported here and saves what is imported here: peft_exchange.py and peft_llama.py in
// tools/reference. S3T_WRITE_REFERENCE=1 writes the exported adapters anew, for these scripts to read.

import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Device, scope, type Tensor, tensor } from '@s3t/engine';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { LayerAdapter } from '../adapter.ts';
import type { Inputs } from '../architecture.ts';
import { readJson } from '../checkpoint/open-tensors.ts';
import { ModelError } from '../errors.ts';
import { LLAMA_TARGETS } from '../llama.ts';
import { type BaseModel, loadBaseModel } from '../model.ts';
import { parseSafetensors, toFloat32 } from '../safetensors.ts';
import { placeStage, type StageForm, type StageValues } from '../stage.ts';
import { randomStage, relativeError } from '../testing/tiny.ts';
import type { AdapterOptions } from './adapter-config.ts';
import { readAdapter, writeAdapter } from './adapter-folder.ts';
import { importAdapter } from './import-adapter.ts';
import { writeMergedModel } from './merged-model.ts';

const REFERENCE = fileURLToPath(new URL('../../../../tools/reference', import.meta.url));
const BASES = ['vit', 'roberta', 'llama/llama2'] as const;
const RECORDS = 6;
const LORA = { rank: 4, alpha: 8, rslora: true, dropout: 0.1 };

interface Case {
  base: (typeof BASES)[number];
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
  llama: {
    base: 'llama/llama2',
    targets: ['q_proj', 'v_proj', 'down_proj'],
    groups: [[3], [2, 1]],
    taskType: 'CAUSAL_LM',
  },
};

let device: Device;
const bases = new Map<string, BaseModel>();
beforeAll(async () => {
  device = await Device.open();
  for (const name of BASES)
    bases.set(name, await loadBaseModel(device, join(REFERENCE, name), { maxLength: 12 }));
});
afterAll(() => device.close());

const tensorsOf = async (folder: string, name = 'reference') => {
  const file = join(REFERENCE, folder, `${name}.safetensors`);
  return parseSafetensors(new Uint8Array(await readFile(file)), file).tensors;
};

/** The records of the references of a base. */
async function inputsOf(base: string): Promise<Inputs> {
  if (base === 'vit') {
    const pixels = toFloat32((await tensorsOf('vit')).get('pixels')!, 'pixels', 'vit');
    return { pixels: tensor(device, pixels, [RECORDS, 3, 16, 16]) };
  }
  if (base === 'llama/llama2') {
    const { bytes } = (await tensorsOf(base)).get('ids')!;
    const ids = new Uint32Array(bytes.slice().buffer);
    return { ids: tensor(device, ids, [RECORDS, ids.length / RECORDS]) };
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
async function logitsOf(
  base: string,
  form: StageForm,
  layers: readonly number[],
  values: StageValues,
  { network }: BaseModel = bases.get(base)!,
) {
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

const logitsOfPeft = async (name: string) => {
  const file = name.endsWith('llama') ? 'reference-llama' : 'reference';
  return toFloat32((await tensorsOf('peft', file)).get(`${name}.logits`)!, name, 'peft');
};

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

const SAVED: [string, (typeof BASES)[number], number[], string[]][] = [
  ['saved-vit', 'vit', [0, 1, 2, 3, 4], ['query', 'value']],
  ['saved-roberta', 'roberta', [1, 3], ['query', 'value']],
  ['saved-llama', 'llama/llama2', [1, 3], LLAMA_TARGETS.map(({ name }) => name)],
];
const savedForm = (base: string, targets: string[]) =>
  formOf(base, { rank: 3, alpha: 6, rslora: false, dropout: 0, targets });

it.each(SAVED)(
  'reads %s, which PEFT saved, with the logits that PEFT computed',
  async (name, base, layers, targets) => {
    const form = savedForm(base, targets);
    const values = await readAdapter(join(REFERENCE, 'peft', name), form, layers);
    const error = relativeError(await logitsOf(base, form, layers, values), await logitsOfPeft(name));
    expect(error).toBeLessThan(1e-5);
  },
);

describe('merged into the base', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 's3t-peft-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it.each(SAVED)(
    '%s makes a base with the logits that PEFT computed',
    async (name, base, layers, targets) => {
      const out = join(folder, name);
      const from = join(REFERENCE, base);
      const about = await importAdapter(device, from, join(REFERENCE, 'peft', name), `${out}/`);
      expect(about.base).toBe(bases.get(base)!.digest);
      expect(about.merged).toHaveLength(layers.length * targets.length);
      expect(await readJson(join(out, 's3t-import.json'))).toEqual(about);
      const merged = await loadBaseModel(device, out, { maxLength: 12 });
      expect(merged.digest).not.toBe(about.base);
      // The head that the adapter brought, and adapters that change nothing.
      const form = savedForm(base, targets);
      const values = await readAdapter(join(REFERENCE, 'peft', name), form, layers);
      for (const [of, value] of values) if (of.includes('.lora_B.')) value.fill(0);
      const logits = await logitsOf(base, form, layers, values, merged);
      expect(relativeError(logits, await logitsOfPeft(name))).toBeLessThan(1e-5);
    },
  );

  it('a stack on a Llama has the logits that PEFT computed', async () => {
    const { base, targets, groups } = EXPORTED.llama!;
    const form = formOf(base, { ...LORA, targets });
    const stages = groups.map((layers, i) => ({ layers, values: randomStage(layers, i + 1, form) }));
    const out = join(folder, 'stack');
    await writeMergedModel(out, bases.get(base)!, form, stages, []);
    const merged = await loadBaseModel(device, out, { maxLength: 12 });
    const logits = await logitsOf(base, form, [], new Map(), merged);
    expect(relativeError(logits, await logitsOfPeft('llama'))).toBeLessThan(1e-5);
  });

  it('leaves nothing when it is stopped', async () => {
    const out = join(folder, 'stopped');
    const left = async () => (await readdir(folder)).filter((name) => name.startsWith('stopped'));
    const stop = new AbortController();
    const [from, adapter] = [join(REFERENCE, 'llama/llama2'), join(REFERENCE, 'peft', 'saved-llama')];
    const outcome = importAdapter(device, from, adapter, out, stop.signal).catch((error) => error);
    await vi.waitUntil(async () => (await left()).length > 0, { interval: 1 });
    const reason = new Error('stopped');
    stop.abort(reason);
    expect(await outcome).toBe(reason);
    expect(await left()).toEqual([]);
  });

  it('is refused by name what does not fit, and leaves nothing', async () => {
    const adapter = join(REFERENCE, 'peft', 'saved-llama');
    const out = join(folder, 'refused');
    const refused = async (from: string, ...parts: string[]) => {
      const error = await importAdapter(device, join(REFERENCE, 'llama/llama2'), from, out).catch((e) => e);
      expect(error).toBeInstanceOf(ModelError);
      for (const part of parts) expect(error.message).toContain(part);
      expect((await readdir(folder)).filter((name) => name.startsWith('refused'))).toEqual([]);
    };
    const changed = join(folder, 'changed');
    await cp(adapter, changed, { recursive: true });
    const change = async (fields: Record<string, unknown>) =>
      writeFile(
        join(changed, 'adapter_config.json'),
        JSON.stringify({ ...(await readJson(join(adapter, 'adapter_config.json'))), ...fields }),
      );
    await refused(join(REFERENCE, 'peft', 'roberta'), 'roberta', 'belongs to no tensor of the base');
    await change({ r: 4 });
    await refused(changed, 'adapter_model.safetensors', 'lora_A.weight has shape [3,64]', 'rank 4');
    for (const [field, value] of [
      ['r', 0],
      ['lora_alpha', 'much'],
      ['use_rslora', 1],
      ['use_dora', true],
      ['rank_pattern', { q_proj: 8 }],
    ] as const) {
      await change({ [field]: value });
      await refused(changed, 'adapter_config.json', `field ${field}`);
    }
    await expect(importAdapter(device, folder, adapter, folder)).rejects.toThrow('exists already');
  });
});
