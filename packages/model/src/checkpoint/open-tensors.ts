import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ModelError } from '../errors.ts';
import { openGguf } from '../gguf/gguf-store.ts';
import { fileSource, unreadable } from './byte-source.ts';
import { joinShards, openSafetensors, parseShardIndex } from './safetensors-store.ts';
import type { TensorStore } from './tensor-store.ts';

export const WEIGHTS = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';

/**
 * Opens the tensors of a checkpoint: a .gguf or .safetensors file, or a folder in Hugging Face layout with one
 * model.safetensors or the shards of a model.safetensors.index.json. Only headers are read.
 * @throws ModelError naming the file (and tensor) that is missing or damaged; nothing stays open then
 */
export async function openTensors(path: string): Promise<TensorStore> {
  if (path.endsWith('.gguf')) return openFile(path, openGguf);
  if (path.endsWith('.safetensors')) return openFile(path, openSafetensors);
  if (!(await isSharded(path))) return openFile(join(path, WEIGHTS), openSafetensors);
  const file = join(path, INDEX);
  const index = parseShardIndex(await readJson(file), file);
  const shards = new Map<string, TensorStore>();
  try {
    for (const shard of index.files) shards.set(shard, await openFile(join(path, shard), openSafetensors));
    return joinShards(index, shards, file);
  } catch (error) {
    for (const shard of shards.values()) await shard.close();
    throw error;
  }
}

/** The files of a folder that hold its weights, in the order of their digests: the index goes before its shards. */
export async function weightFiles(folder: string): Promise<string[]> {
  if (!(await isSharded(folder))) return [WEIGHTS];
  const file = join(folder, INDEX);
  return [INDEX, ...parseShardIndex(await readJson(file), file).files];
}

/** One file goes before an index, as in transformers. */
async function isSharded(folder: string): Promise<boolean> {
  return !(await exists(join(folder, WEIGHTS))) && (await exists(join(folder, INDEX)));
}

export function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function openFile<Store extends TensorStore>(
  path: string,
  open: (source: Awaited<ReturnType<typeof fileSource>>) => Promise<Store>,
): Promise<Store> {
  const source = await fileSource(path);
  try {
    return await open(source);
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** Reads a JSON object. @throws ModelError naming the file */
export async function readJson(file: string): Promise<Record<string, unknown>> {
  return parseJson(await readBytes(file), file);
}

/** @throws ModelError when a file cannot be read, or is not UTF-8 */
export async function readText(file: string): Promise<string> {
  try {
    return utf8.decode(await readBytes(file));
  } catch (error) {
    throw error instanceof ModelError ? error : new ModelError(`${file}: is not UTF-8`);
  }
}

function readBytes(file: string): Promise<Buffer> {
  return readFile(file).catch((cause) => {
    throw unreadable(file, cause);
  });
}

// Fatal: a byte that is damaged would become a sign like any other, and a token another one.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** @throws ModelError when the bytes are not a JSON object in UTF-8 */
function parseJson(bytes: Uint8Array, file: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(utf8.decode(bytes));
  } catch {
    throw new ModelError(`${file}: is not JSON`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new ModelError(`${file}: is not a JSON object`);
  return value as Record<string, unknown>;
}
