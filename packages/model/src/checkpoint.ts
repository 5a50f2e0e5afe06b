import { basename, dirname, join } from 'node:path';
import { digestBeside } from './checkpoint/digest.ts';
import { exists, openTensors, readJson, readText, weightFiles } from './checkpoint/open-tensors.ts';
import type { TensorStore } from './checkpoint/tensor-store.ts';
import { ModelError } from './errors.ts';
import { ggufGenerationConfig } from './gguf/gguf-end-tokens.ts';
import type { GgufStore } from './gguf/gguf-store.ts';
import { ggufTokenizerConfig, ggufTokenizerJson } from './gguf/gguf-tokenizer.ts';
import { llamaConfig } from './gguf/llama-names.ts';

/** A model in Hugging Face layout, or in a .gguf file: its small files, and the opened tensors. */
export interface Checkpoint {
  /** Or the .gguf file. */
  folder: string;
  config: Record<string, unknown>;
  /** What goes with the weights (`Companion`): the content of those that are there. A .gguf file has its own in its header. */
  companions: ReadonlyMap<string, Record<string, unknown>>;
  /** Open: whoever reads a checkpoint closes it. */
  tensors: TensorStore;
  /**
   * SHA-256 over the digests of config.json, the companions but generation_config.json, and the files of the weights (an index first),
   * or of the one file.
   */
  digest: string;
}

const CONFIG = 'config.json';
/** What a model makes of pictures and texts. */
const COMPANIONS = ['preprocessor_config.json', 'tokenizer.json', 'tokenizer_config.json'] as const;
/**
 * Says where texts end that a model continues. No part of the digest: training reads nothing of it, and defaults of sampling, which are
 * most of it, change without the model.
 */
export const GENERATION_CONFIG = 'generation_config.json';

/**
 * Newer versions of transformers write the chat template into a file of its own, no JSON: its content stands as `chat_template` among
 * the companions. It goes before what tokenizer_config.json says, as there: who has both has kept an old one.
 */
export const CHAT_TEMPLATE = 'chat_template.jinja';

export type Companion = (typeof COMPANIONS)[number] | typeof GENERATION_CONFIG | typeof CHAT_TEMPLATE;

/** A checkpoint whose digest is still being computed. Whoever opens it awaits the digest, whatever happens. */
export type OpenedCheckpoint = Omit<Checkpoint, 'digest'> & { digest: Promise<string> };

/** Opens a model folder or a .gguf file. @throws ModelError naming the file that is missing or damaged */
export async function openCheckpoint(folder: string): Promise<Checkpoint> {
  const { digest, ...checkpoint } = await openCheckpointSoon(folder);
  try {
    return { ...checkpoint, digest: await digest };
  } catch (error) {
    await checkpoint.tensors.close();
    throw error;
  }
}

/** The same, before its digest is known: the weights may be read meanwhile. */
export async function openCheckpointSoon(folder: string): Promise<OpenedCheckpoint> {
  if (isGguf(folder)) return openGgufCheckpoint(folder);
  const config = await readJson(join(folder, CONFIG));
  const companions = new Map<string, Record<string, unknown>>();
  for (const name of COMPANIONS)
    if (await exists(join(folder, name))) companions.set(name, await readJson(join(folder, name)));
  const template = join(folder, CHAT_TEMPLATE);
  if (await exists(template)) companions.set(CHAT_TEMPLATE, { chat_template: await readText(template) });
  const small = [CONFIG, ...companions.keys()];
  const generation = join(folder, GENERATION_CONFIG);
  if (await exists(generation)) companions.set(GENERATION_CONFIG, await readJson(generation));
  const weights = await weightFiles(folder);
  const tensors = await openTensors(folder);
  return { folder, config, companions, tensors, digest: digestBeside(folder, [...small, ...weights]) };
}

/** What is in the header of a .gguf file, as the files of a folder would say it. */
async function openGgufCheckpoint(file: string): Promise<OpenedCheckpoint> {
  const tensors = await openTensors(file);
  try {
    const { metadata } = tensors as GgufStore;
    const architecture = metadata.get('general.architecture');
    if (architecture !== 'llama')
      throw new ModelError(
        `${file}: metadata general.architecture is ${JSON.stringify(architecture)}; only "llama" is known`,
      );
    const companions = new Map<string, Record<string, unknown>>();
    if (metadata.has('tokenizer.ggml.model')) {
      companions.set('tokenizer.json', ggufTokenizerJson(metadata, file));
      companions.set('tokenizer_config.json', ggufTokenizerConfig(metadata));
      const generation = ggufGenerationConfig(metadata, file);
      if (generation) companions.set(GENERATION_CONFIG, generation);
    }
    const config = llamaConfig(metadata, new Set(tensors.names()), file);
    return {
      folder: file,
      config,
      companions,
      tensors,
      digest: digestBeside(dirname(file), [basename(file)]),
    };
  } catch (error) {
    await tensors.close();
    throw error;
  }
}

/** Whether a path names a file that holds a whole model, by its ending. */
export function isGguf(path: string): boolean {
  return path.endsWith('.gguf');
}

/** What errors call a small file of a checkpoint. */
export function nameOf({ folder }: Checkpoint, name: typeof CONFIG | Companion): string {
  return isGguf(folder) ? folder : join(folder, name);
}

/** The content of a file that a model cannot do without. @throws ModelError when it is not there */
export function companionOf(checkpoint: Checkpoint, name: Companion): Record<string, unknown> {
  const content = checkpoint.companions.get(name);
  if (content) return content;
  const { folder } = checkpoint;
  throw new ModelError(
    isGguf(folder) ? `${folder}: holds no ${name}` : `${join(folder, name)}: there is no such file`,
  );
}
