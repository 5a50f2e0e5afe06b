import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readJson } from '../checkpoint/open-tensors.ts';
import { ModelError } from '../errors.ts';
import { llamaArchitecture, parseLlamaConfig } from '../llama.ts';
import { parseSafetensors, toFloat32, writeSafetensors } from '../safetensors.ts';
import { startStage } from '../stage.ts';
import { FORM, randomStage, sameBits } from '../testing/tiny.ts';
import { adapterConfig } from './adapter-config.ts';
import { readAdapter, writeAdapter } from './adapter-folder.ts';

const TOP = { layers: [3], values: randomStage([3], 1) };
const NEXT = { layers: [2], values: randomStage([2], 2) };
const BASE = { base: 'some/base', revision: 'main' };

let folder: string;
let config: Record<string, unknown>;
const at = (name: string) => join(folder, name);
const CONFIG = 'adapter_config.json';
const WEIGHTS = 'adapter_model.safetensors';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3t-peft-'));
  await writeAdapter(folder, FORM, [TOP, NEXT], BASE);
  config = JSON.parse(await readFile(at(CONFIG), 'utf8'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('a stack as a PEFT adapter', () => {
  it('says in its configuration what PEFT asks for', () => {
    expect(config).toEqual({
      peft_type: 'LORA',
      task_type: null,
      base_model_name_or_path: 'some/base',
      revision: 'main',
      inference_mode: true,
      r: 4,
      lora_alpha: 8,
      use_rslora: true,
      lora_dropout: 0,
      bias: 'none',
      target_modules: ['query', 'value'],
      layers_to_transform: [2, 3],
      layers_pattern: 'layer',
      modules_to_save: ['classifier'],
    });
  });

  it('gives every layer by its path where a name would find others', () => {
    const of = (targets: string[]) => adapterConfig({ ...FORM, lora: { ...FORM.lora, targets } }, [3], BASE);
    expect(of(['query', 'output.dense'])).toMatchObject({
      target_modules: ['vit.encoder.layer.3.attention.attention.query', 'vit.encoder.layer.3.output.dense'],
    });
    expect(of(['query', 'output.dense'])).not.toHaveProperty('layers_to_transform');
    expect(of(['output.dense', 'attention.output.dense'])).toMatchObject({
      target_modules: ['attention.output.dense', 'output.dense'],
      layers_to_transform: [3],
    });
  });

  it('of a language model, whose head is the base, saves adapters alone', async () => {
    const file = fileURLToPath(
      new URL('../../../../tools/reference/llama/llama3/config.json', import.meta.url),
    );
    const architecture = llamaArchitecture(parseLlamaConfig(await readJson(file), file), 8);
    const form = { architecture, lora: { ...FORM.lora, targets: ['q_proj', 'down_proj'] }, outputs: 0 };
    expect(adapterConfig(form, [1], { base: 'b', taskType: 'CAUSAL_LM' })).toMatchObject({
      task_type: 'CAUSAL_LM',
      target_modules: ['q_proj', 'down_proj'],
      layers_to_transform: [1],
      layers_pattern: 'layers',
      modules_to_save: null,
    });
    expect([...startStage(form, [1], [1, 2], null).keys()]).toContain(
      'base_model.model.model.layers.1.mlp.down_proj.lora_A.weight',
    );
  });

  it('holds the adapters of all stages and the head of the last, and comes back with every bit', async () => {
    const values = await readAdapter(folder, FORM, [3, 2]);
    expect([...values.keys()].sort()).toEqual(
      [...new Set([...TOP.values.keys(), ...NEXT.values.keys()])].sort(),
    );
    for (const [name, value] of values)
      expect([name, sameBits(value, (NEXT.values.get(name) ?? TOP.values.get(name))!)]).toEqual([name, true]);
    expect(startStage(FORM, [1], [1, 2], values).get('base_model.model.classifier.bias')).toEqual(
      NEXT.values.get('base_model.model.classifier.bias'),
    );
  });
});

describe('an adapter that does not fit', () => {
  const withConfig = async (change: Record<string, unknown>) => {
    await writeFile(at(CONFIG), JSON.stringify({ ...config, ...change }));
    await readAdapter(folder, FORM, [3, 2]).finally(() => writeFile(at(CONFIG), JSON.stringify(config)));
  };

  it.each<[string, unknown, string]>([
    ['peft_type', 'IA3', 'is "IA3", not "LORA": only LoRA adapters can be read'],
    ['bias', 'all', 'is "all", not "none": the base stays as it is'],
    ['r', 8, 'is 8, not 4, as lora.rank says'],
    ['lora_alpha', 16, 'is 16, not 8, as lora.alpha says'],
    ['use_rslora', undefined, 'is false, not true, as lora.rslora says'],
    ['init_lora_weights', 'pissa', 'is "pissa": such an adapter stands on changed base weights'],
    ['init_lora_weights', 'loftq', 'is "loftq": such an adapter stands on changed base weights'],
    ['use_dora', true, 'is true, which this model does not compute; it must be off'],
    ['rank_pattern', { query: 8 }, 'is {"query":8}, which this model does not compute; it must be off'],
    ['alpha_pattern', { query: 8 }, 'is {"query":8}, which this model does not compute; it must be off'],
    ['fan_in_fan_out', true, 'is true, which this model does not compute; it must be off'],
    ['of_tomorrow', 1, 'is 1, which this model does not compute; it must be off'],
  ])('is refused for its field %s (%j)', async (field, value, problem) => {
    await expect(withConfig({ [field]: value })).rejects.toThrow(
      new ModelError(`${at(CONFIG)}: field ${field} ${problem}`),
    );
  });

  it('reads what PEFT writes for everything that is off', async () => {
    const off = {
      use_dora: false,
      rank_pattern: {},
      layer_replication: null,
      megatron_core: 'megatron.core',
    };
    await withConfig({
      ...off,
      qalora_group_size: 16,
      peft_version: '0.18.1',
      init_lora_weights: 'gaussian',
    });
  });

  it('is refused when a tensor is missing, misshapen or has no place', async () => {
    const bytes = new Uint8Array(await readFile(at(WEIGHTS)));
    const tensors = new Map(
      [...parseSafetensors(bytes, '').tensors].map(([name, stored]) => [
        name,
        { shape: stored.shape, values: toFloat32(stored, name, '') },
      ]),
    );
    const withTensors = async (change: (all: typeof tensors) => void) => {
      const changed = new Map(tensors);
      change(changed);
      await writeFile(at(WEIGHTS), writeSafetensors(changed));
      await readAdapter(folder, FORM, [3, 2]).finally(() => writeFile(at(WEIGHTS), bytes));
    };
    const layer = 'base_model.model.vit.encoder.layer';
    const name = `${layer}.2.attention.attention.value.lora_B.weight`;
    await expect(withTensors((all) => all.delete(name))).rejects.toThrow(
      new ModelError(`${at(WEIGHTS)}: there is no tensor ${name}`),
    );
    await expect(withTensors((all) => all.set(name, { ...all.get(name)!, shape: [4, 16] }))).rejects.toThrow(
      new ModelError(`${at(WEIGHTS)}: tensor ${name} has shape [4,16], not [16,4]`),
    );
    const other = `${layer}.2.attention.attention.key.lora_B.weight`;
    await expect(withTensors((all) => all.set(other, all.get(name)!))).rejects.toThrow(
      new ModelError(`${at(WEIGHTS)}: tensor ${other} belongs to no target of layers 2,3`),
    );
    await expect(readAdapter(folder, FORM, [3])).rejects.toThrow('layer.2.attention.attention.query.lora_A');
    await rm(at(WEIGHTS));
    await expect(readAdapter(folder, FORM, [3, 2])).rejects.toThrow(
      new ModelError(`${at(WEIGHTS)}: there is no such file`),
    );
  });
});
