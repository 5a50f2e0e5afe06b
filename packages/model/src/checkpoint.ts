import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { unreadable } from './checkpoint/byte-source.ts';
import { openTensors, readJson, weightFiles } from './checkpoint/open-tensors.ts';
import type { TensorStore } from './checkpoint/tensor-store.ts';

/** A model folder in Hugging Face layout: its small files, and the opened tensors. */
export interface Checkpoint {
  folder: string;
  config: Record<string, unknown>;
  preprocessor: Record<string, unknown>;
  /** Open: whoever reads a checkpoint closes it. */
  tensors: TensorStore;
  /** SHA-256 over the digests of config.json, preprocessor_config.json and the files of the weights (an index first). */
  digest: string;
}

const CONFIG = 'config.json';
const PREPROCESSOR = 'preprocessor_config.json';

/** Opens a model folder. @throws ModelError naming the file that is missing or damaged */
export async function openCheckpoint(folder: string): Promise<Checkpoint> {
  const config = await readJson(join(folder, CONFIG));
  const preprocessor = await readJson(join(folder, PREPROCESSOR));
  const digest = await digestFiles(folder, [CONFIG, PREPROCESSOR, ...(await weightFiles(folder))]);
  return { folder, config, preprocessor, tensors: await openTensors(folder), digest };
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
