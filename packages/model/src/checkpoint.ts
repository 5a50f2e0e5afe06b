import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { unreadable } from './checkpoint/byte-source.ts';
import { exists, openTensors, readJson, weightFiles } from './checkpoint/open-tensors.ts';
import type { TensorStore } from './checkpoint/tensor-store.ts';
import { ModelError } from './errors.ts';

/** A model folder in Hugging Face layout: its small files, and the opened tensors. */
export interface Checkpoint {
  folder: string;
  config: Record<string, unknown>;
  /** What goes with the weights (`COMPANIONS`): the content of those that are there. */
  companions: ReadonlyMap<string, Record<string, unknown>>;
  /** Open: whoever reads a checkpoint closes it. */
  tensors: TensorStore;
  /** SHA-256 over the digests of config.json, the companions and the files of the weights (an index first). */
  digest: string;
}

const CONFIG = 'config.json';
/** What a model makes of pictures and texts. */
const COMPANIONS = ['preprocessor_config.json', 'tokenizer.json', 'tokenizer_config.json'] as const;

export type Companion = (typeof COMPANIONS)[number];

/** Opens a model folder. @throws ModelError naming the file that is missing or damaged */
export async function openCheckpoint(folder: string): Promise<Checkpoint> {
  const config = await readJson(join(folder, CONFIG));
  const companions = new Map<string, Record<string, unknown>>();
  for (const name of COMPANIONS)
    if (await exists(join(folder, name))) companions.set(name, await readJson(join(folder, name)));
  const digest = await digestFiles(folder, [CONFIG, ...companions.keys(), ...(await weightFiles(folder))]);
  return { folder, config, companions, tensors: await openTensors(folder), digest };
}

/** The content of a file that a model cannot do without. @throws ModelError when it is not there */
export function companionOf({ folder, companions }: Checkpoint, name: Companion): Record<string, unknown> {
  const content = companions.get(name);
  if (!content) throw new ModelError(`${join(folder, name)}: there is no such file`);
  return content;
}

/** SHA-256 over the SHA-256 digests of files of a folder, read in pieces. @throws ModelError naming the file */
export async function digestFiles(folder: string, names: readonly string[]): Promise<string> {
  const digest = createHash('sha256');
  for (const name of names) {
    const file = createHash('sha256');
    try {
      for await (const piece of createReadStream(join(folder, name))) file.update(piece as Buffer);
    } catch (cause) {
      throw unreadable(join(folder, name), cause);
    }
    digest.update(file.digest());
  }
  return digest.digest('hex');
}
