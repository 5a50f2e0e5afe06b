// A PEFT adapter that somebody else trained, merged into its base: a folder that is a base like any other. What it learnt from is
// outside of every run on it, as what the base was pre-trained on is.

import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Device, mergeLora, scope, tensor } from '@s3t/engine';
import { digestFile } from '../checkpoint/digest.ts';
import { exists, openTensors, readJson } from '../checkpoint/open-tensors.ts';
import type { TensorStore } from '../checkpoint/tensor-store.ts';
import { openCheckpointSoon } from '../checkpoint.ts';
import { ModelError, OptionError } from '../errors.ts';
import { type LoraConfig, loraScale } from '../lora.ts';
import { unlessStopped } from '../unless-stopped.ts';
import { checkAdapterConfig } from './adapter-config.ts';
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS } from './adapter-folder.ts';
import { copyCompanions, type Entry, writeTensors } from './merged-model.ts';

/** What was imported, as s3t-import.json in the new folder says it. */
export interface ImportedAdapter {
  /** SHA-256 of the base, as runs know bases by. */
  base: string;
  /** SHA-256 of adapter_config.json and of adapter_model.safetensors. */
  adapter: { config: string; weights: string };
  /** The base's tensors that the adapter changed, and those that it brought whole, sorted. */
  merged: string[];
  replaced: string[];
}

const ABOUT = 's3t-import.json';
const PREFIX = 'base_model.model.';
const PART = /^base_model\.model\.(.+)\.lora_([AB])\.weight$/;

/**
 * Writes a base with a PEFT adapter merged into it into a new folder: f32, tensor by tensor. Whole modules that the adapter saved (a
 * head) take the place of the base's.
 * @param out is there whole or not at all
 * @param signal ends it early, with its reason
 * @throws ModelError naming the file and the field or tensor that does not fit; OptionError when `out` exists
 */
export async function importAdapter(
  device: Device,
  baseFolder: string,
  adapterFolder: string,
  out: string,
  signal?: AbortSignal,
): Promise<ImportedAdapter> {
  if (await exists(out)) throw new OptionError(`${out}: exists already; name a new folder`);
  const configFile = join(adapterFolder, ADAPTER_CONFIG);
  const config = await readJson(configFile);
  const weightsFile = join(adapterFolder, ADAPTER_WEIGHTS);
  const lora = loraOf(config, configFile);
  checkAdapterConfig(config, lora, configFile);
  const { digest, ...checkpoint } = await openCheckpointSoon(baseFolder);
  // Without the slash that somebody may have written behind its name: the part lies beside it, not in it.
  const target = resolve(out);
  const part = `${target}.part`;
  try {
    const base = await unlessStopped(digest, signal);
    const adapter = await openTensors(weightsFile);
    try {
      const { tensors } = checkpoint;
      const changes = changesOf(adapter, tensors, lora.rank, weightsFile);
      const untied = untiedHead(checkpoint.config, config, tensors, changes);
      const names = new Set([...tensors.names(), ...changes.replaced.keys()]);
      const weights = [...names].filter((name) => changes.replaced.has(name) || !isCounted(tensors, name));
      const entries = weights.map((name) => {
        const whole = changes.replaced.get(name);
        const module = changes.merged.get(name);
        const { shape } = whole === undefined ? tensors.info(name) : adapter.info(whole);
        const read = () => {
          if (whole !== undefined) return adapter.read(whole);
          return module === undefined
            ? tensors.read(name)
            : mergedValues(device, tensors, name, adapter, module, loraScale(lora));
        };
        return [name, { shape, read }] as const;
      });
      const about: ImportedAdapter = {
        base,
        adapter: {
          config: (await digestFile(configFile)).toString('hex'),
          weights: (await digestFile(weightsFile)).toString('hex'),
        },
        merged: [...changes.merged.keys()].sort(),
        replaced: [...changes.replaced.keys()].sort(),
      };
      await rm(part, { recursive: true, force: true });
      await mkdir(part, { recursive: true });
      const all = new Map([...entries, ...(untied?.entries ?? [])]);
      await writeTensors(join(part, 'model.safetensors'), all, signal);
      const { dtype: _, ...kept } = checkpoint.config;
      await writeJson(join(part, 'config.json'), { ...kept, ...untied?.config, torch_dtype: 'float32' });
      await copyCompanions(checkpoint, part);
      await writeJson(join(part, ABOUT), about);
      await rename(part, target);
      return about;
    } finally {
      await adapter.close();
    }
  } catch (error) {
    await rm(part, { recursive: true, force: true });
    throw error;
  } finally {
    await checkpoint.tensors.close();
  }
}

/** How an adapter_config.json says that its adapter is applied. */
function loraOf(config: Record<string, unknown>, file: string): LoraConfig {
  const { r, lora_alpha, use_rslora = false } = config;
  const fail = (field: string, problem: string): never => {
    throw new ModelError(`${file}: field ${field} ${problem}, not ${JSON.stringify(config[field])}`);
  };
  if (!Number.isInteger(r) || (r as number) < 1) fail('r', 'must be a positive whole number');
  if (!Number.isFinite(lora_alpha) || (lora_alpha as number) <= 0)
    fail('lora_alpha', 'must be a positive number');
  if (typeof use_rslora !== 'boolean') fail('use_rslora', 'must be true or false');
  return {
    rank: r as number,
    alpha: lora_alpha as number,
    rslora: use_rslora as boolean,
    dropout: 0,
    targets: [],
  };
}

interface Changes {
  /** The module of the adapter by the base's tensor that it changes. */
  merged: Map<string, string>;
  /** The adapter's tensor by the base's that it stands for. */
  replaced: Map<string, string>;
}

/** What an adapter changes of a base. @throws ModelError naming the tensor that belongs to none of the base's */
function changesOf(adapter: TensorStore, base: TensorStore, rank: number, file: string): Changes {
  const changes: Changes = { merged: new Map(), replaced: new Map() };
  for (const name of adapter.names()) {
    const fail = (problem: string): never => {
      throw new ModelError(`${file}: tensor ${name} ${problem}`);
    };
    const [, module, matrix] = PART.exec(name) ?? [];
    if (module === undefined) {
      if (!name.startsWith(PREFIX) || name.includes('.lora_'))
        fail('is neither a LoRA matrix of a linear layer nor part of a saved module');
      const whole = name.slice(PREFIX.length);
      changes.replaced.set(storedAs(base, whole) ?? whole, name);
      continue;
    }
    const other = `${PREFIX}${module}.lora_${matrix === 'A' ? 'B' : 'A'}.weight`;
    if (!adapter.has(other)) fail(`has no ${other} beside it`);
    const weight = storedAs(base, `${module}.weight`) ?? fail('belongs to no tensor of the base');
    const { shape } = base.info(weight);
    const [rows, columns] = shape;
    const wanted = matrix === 'A' ? [rank, columns] : [rows, rank];
    const found = adapter.info(name).shape;
    if (shape.length !== 2 || found.join() !== wanted.join())
      fail(`has shape [${found}], which is no part of rank ${rank} of [${shape}] of ${weight} in the base`);
    changes.merged.set(weight, module);
  }
  if (changes.merged.size === 0) throw new ModelError(`${file}: holds no LoRA matrix`);
  return changes;
}

const HEAD = 'lm_head.weight';

/**
 * What PEFT makes of a head that is its base's embedding, where an adapter brings one of the two: from then on they are two tensors.
 * @returns null where they stay one
 */
function untiedHead(
  base: Record<string, unknown>,
  adapter: Record<string, unknown>,
  tensors: TensorStore,
  { merged, replaced }: Changes,
): { config: Record<string, unknown>; entries: [string, Entry][] } | null {
  if (base.model_type !== 'llama' || base.tie_word_embeddings !== true) return null;
  const embedding = storedAs(tensors, 'model.embed_tokens.weight');
  const hasHead = merged.has(HEAD) || replaced.has(HEAD);
  if (embedding === undefined || !(hasHead || replaced.has(embedding))) return null;
  const config = { tie_word_embeddings: false };
  if (hasHead) return { config, entries: [] };
  if (adapter.ensure_weight_tying === true) return null;
  const { shape } = tensors.info(embedding);
  return { config, entries: [[HEAD, { shape, read: () => tensors.read(embedding) }]] };
}

/** Whether a tensor is 0, 1, 2 and so on, or zeros: older versions of transformers stored it beside the weights, and made it anew in loading. */
function isCounted(tensors: TensorStore, name: string): boolean {
  return /(?:^|\.)(?:position_ids|token_type_ids)$/.test(name) && tensors.info(name).dtype === 'I64';
}

/** What a checkpoint calls a tensor, where the model within it is named in one of the two and not in the other. */
function storedAs(base: TensorStore, name: string): string | undefined {
  if (base.has(name)) return name;
  const found = [...base.names()].filter(
    (stored) => stored.endsWith(`.${name}`) || name.endsWith(`.${stored}`),
  );
  return found.length === 1 ? found[0] : undefined;
}

async function mergedValues(
  device: Device,
  base: TensorStore,
  name: string,
  adapter: TensorStore,
  module: string,
  scale: number,
): Promise<Float32Array<ArrayBuffer>> {
  const place = async (store: TensorStore, of: string) =>
    tensor(device, await store.read(of), store.info(of).shape, { constant: true });
  using weight = await place(base, name);
  using down = await place(adapter, `${PREFIX}${module}.lora_A.weight`);
  using up = await place(adapter, `${PREFIX}${module}.lora_B.weight`);
  using merged = scope(() => mergeLora(weight, { down, up, scale }));
  return await merged.read();
}

async function writeJson(file: string, content: unknown): Promise<void> {
  await writeFile(file, `${JSON.stringify(content, null, 2)}\n`);
}
