import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { unreadable } from './checkpoint/byte-source.ts';
import { NUMBER_FORMATS } from './checkpoint/number-formats.ts';
import { openTensors, readJson, weightFiles } from './checkpoint/open-tensors.ts';
import type { StoredTensor } from './safetensors.ts';

/** A model folder in Hugging Face layout, read but not yet put on a device. */
export interface Checkpoint {
  folder: string;
  config: Record<string, unknown>;
  preprocessor: Record<string, unknown>;
  tensors: Map<string, StoredTensor>;
  /** SHA-256 over the digests of config.json, preprocessor_config.json and the files of the weights (an index first). */
  digest: string;
}

const CONFIG = 'config.json';
const PREPROCESSOR = 'preprocessor_config.json';

/** Reads a model folder. @throws ModelError naming the file that is missing or damaged */
export async function readCheckpoint(folder: string): Promise<Checkpoint> {
  const config = await readJson(join(folder, CONFIG));
  const preprocessor = await readJson(join(folder, PREPROCESSOR));
  const digest = await digestFiles(folder, [CONFIG, PREPROCESSOR, ...(await weightFiles(folder))]);
  return { folder, config, preprocessor, tensors: await readAll(folder), digest };
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

/** Every tensor of a folder as f32. One that holds no numbers is named and empty: only who asks for it has to fail. */
async function readAll(folder: string): Promise<Map<string, StoredTensor>> {
  const store = await openTensors(folder);
  try {
    const tensors = new Map<string, StoredTensor>();
    for (const name of store.names()) {
      const { shape, dtype } = store.info(name);
      const isNumbers = NUMBER_FORMATS.has(dtype);
      const bytes = isNumbers ? new Uint8Array((await store.read(name)).buffer) : new Uint8Array(0);
      tensors.set(name, { dtype: isNumbers ? 'F32' : dtype, shape, bytes });
    }
    return tensors;
  } finally {
    await store.close();
  }
}
