// A base with a stack's changes merged into its weights, as a folder that transformers loads: config.json, model.safetensors and
// what went with the base.

import { copyFile, mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mergeLora, scope } from '@s3t/engine';
import { fullName, storedName } from '../base-weights.ts';
import { type Checkpoint, isGguf, openCheckpointSoon } from '../checkpoint.ts';
import { ModelError } from '../errors.ts';
import type { BaseModel } from '../model.ts';
import { safetensorsHeader } from '../safetensors.ts';
import { placeStage, type Stage, type StageForm } from '../stage.ts';
import type { FrozenStage } from '../stage-training.ts';
import { unlessStopped } from '../unless-stopped.ts';
import { stackValues } from './adapter-folder.ts';

/** The classes of transformers that have the heads of stages, by model_type. A language model's head is the base's own. */
const CLASSES: Record<string, string> = {
  vit: 'ViTForImageClassification',
  bert: 'BertForSequenceClassification',
  roberta: 'RobertaForSequenceClassification',
  'xlm-roberta': 'XLMRobertaForSequenceClassification',
};

/** A tensor of the file, and where its values come from. */
export interface Entry {
  shape: readonly number[];
  read(): Promise<Float32Array<ArrayBuffer>>;
}

/**
 * Writes a base with a stack merged in into a folder, which is made if it is not there. Weights are f32 and go one by one from
 * the checkpoint to the file. Those of linear layers are the values that the base computes with: what a quantised one rounded
 * stays rounded, for adapters have learnt on it.
 * @param stages top-down, at least one
 * @param labels of the head's numbers, in their order, one for a regression; none for a language model
 * @param signal ends it early, with its reason; what was written stays
 * @throws ModelError naming the file: the base is not what was loaded, or cannot be read
 */
export async function writeMergedModel(
  folder: string,
  base: BaseModel,
  form: StageForm,
  stages: readonly FrozenStage[],
  labels: readonly string[],
  signal?: AbortSignal,
): Promise<void> {
  const { digest, ...checkpoint } = await openCheckpointSoon(base.folder);
  try {
    // That of a large base takes long, and nobody has to wait for it who wants to stop.
    if ((await unlessStopped(digest, signal)) !== base.digest)
      throw new ModelError(`${base.folder}: changed since it was loaded; put the old base back`);
    await mkdir(folder, { recursive: true });
    const { layers, values } = stackValues(stages);
    const { stage, parameters } = placeStage(base.device, form, layers, values, 'serve');
    try {
      const entries = entriesOf(base, checkpoint, form, stage);
      await writeTensors(join(folder, 'model.safetensors'), entries, signal);
    } finally {
      for (const parameter of parameters.values()) parameter.destroy();
    }
    const config = mergedConfig(checkpoint.config, labels);
    await writeFile(join(folder, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
    await copyCompanions(checkpoint, folder);
  } finally {
    await checkpoint.tensors.close();
  }
}

/** The tensors of the merged model by their names in a checkpoint with a head. */
function entriesOf(
  { network, parameters, prefix }: BaseModel,
  { tensors }: Pick<Checkpoint, 'tensors'>,
  { architecture, outputs }: StageForm,
  { adapters, head }: Stage,
): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  for (const parameter of parameters) {
    const read = () => tensors.read(storedName(tensors, parameter, prefix));
    entries.set(fullName(parameter, prefix), { shape: parameter.shape, read });
  }
  for (let layer = 0; layer < architecture.layers; layer++)
    for (const { name, module, outputs: rows, inputs: columns } of architecture.targets) {
      const { weight } = network.linearOf(layer, name);
      const { pairs, scale } = adapters.get(layer) ?? { pairs: {}, scale: 0 };
      const pair = pairs[name];
      const read = async () => {
        if (!pair) return weight.read();
        const merged = scope(() => mergeLora(weight, { ...pair, scale }));
        // Zeroed, not only given back: it has learnt what may be erased.
        return await merged.read().finally(() => merged.destroy());
      };
      entries.set(`${architecture.layerModule(layer)}.${module}.weight`, { shape: [rows, columns], read });
    }
  for (const { name, shape } of architecture.headParameters(outputs))
    entries.set(name, { shape, read: () => head[name]!.read() });
  return entries;
}

/** Puts what a base makes of texts and pictures into another folder: the files, or what a .gguf file has of them. */
export async function copyCompanions(
  { folder, companions }: Pick<Checkpoint, 'folder' | 'companions'>,
  to: string,
): Promise<void> {
  if (isGguf(folder)) {
    for (const [name, content] of companions) await writeFile(join(to, name), JSON.stringify(content));
    return;
  }
  for (const name of companions.keys()) await copyFile(join(folder, name), join(to, name));
}

/** Writes tensors as a safetensors file; host memory holds one at a time. @param signal ends it within a tensor, with its reason */
export async function writeTensors(
  path: string,
  entries: ReadonlyMap<string, Entry>,
  signal?: AbortSignal,
): Promise<void> {
  const shapes = new Map([...entries].map(([name, { shape }]) => [name, shape]));
  const { header, names } = safetensorsHeader(shapes, { format: 'pt' });
  const file = await open(path, 'wx');
  try {
    await file.writeFile(header);
    for (const name of names) {
      const values = await entries.get(name)!.read();
      signal?.throwIfAborted();
      await file.writeFile(new Uint8Array(values.buffer), { signal });
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    await file.close();
  }
}

/** The base's configuration with the head of the stack, and weights in f32. */
function mergedConfig(config: Record<string, unknown>, labels: readonly string[]): Record<string, unknown> {
  const { dtype, num_labels, ...kept } = config;
  const merged = { ...kept, torch_dtype: 'float32' };
  const name = CLASSES[String(config.model_type)];
  if (!name) return merged;
  return {
    ...merged,
    architectures: [name],
    // As transformers calls a head of one number.
    ...(labels.length === 1 && { problem_type: 'regression' }),
    id2label: Object.fromEntries(labels.map((label, i) => [i, label])),
    label2id: Object.fromEntries(labels.map((label, i) => [label, i])),
  };
}
