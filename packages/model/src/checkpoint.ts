import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ModelError } from './errors.ts';
import { parseSafetensors, type StoredTensor } from './safetensors.ts';

/** A model folder in Hugging Face layout, read but not yet put on a device. */
export interface Checkpoint {
  folder: string;
  config: Record<string, unknown>;
  preprocessor: Record<string, unknown>;
  tensors: Map<string, StoredTensor>;
  /** SHA-256 over the digests of config.json, preprocessor_config.json and model.safetensors. */
  digest: string;
}

const CONFIG = 'config.json';
const PREPROCESSOR = 'preprocessor_config.json';
const WEIGHTS = 'model.safetensors';

/** Reads a model folder. @throws ModelError naming the file that is missing or damaged */
export async function readCheckpoint(folder: string): Promise<Checkpoint> {
  const files = await Promise.all([CONFIG, PREPROCESSOR, WEIGHTS].map((name) => readModelFile(folder, name)));
  const [config, preprocessor, weights] = files as [Buffer, Buffer, Buffer];
  const digest = createHash('sha256');
  for (const file of files) digest.update(createHash('sha256').update(file).digest());
  // A view of its own buffer: Node may hand out a slice of a shared one.
  const bytes = new Uint8Array(weights.buffer as ArrayBuffer, weights.byteOffset, weights.byteLength);
  return {
    folder,
    config: parseJson(config, join(folder, CONFIG)),
    preprocessor: parseJson(preprocessor, join(folder, PREPROCESSOR)),
    tensors: parseSafetensors(bytes, join(folder, WEIGHTS)).tensors,
    digest: digest.digest('hex'),
  };
}

async function readModelFile(folder: string, name: string): Promise<Buffer> {
  try {
    return await readFile(join(folder, name));
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const problem = code === 'ENOENT' ? 'there is no such file' : `cannot be read (${code})`;
    throw new ModelError(`${join(folder, name)}: ${problem}`, { cause });
  }
}

function parseJson(bytes: Buffer, file: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch {
    throw new ModelError(`${file}: is not JSON`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new ModelError(`${file}: is not a JSON object`);
  return value as Record<string, unknown>;
}
