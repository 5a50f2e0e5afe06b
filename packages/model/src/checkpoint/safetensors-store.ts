import { ModelError } from '../errors.ts';
import { headerLength, parseSafetensorsHeader } from '../safetensors.ts';
import type { ByteSource } from './byte-source.ts';
import { oneLine } from './one-line.ts';
import { streamTensor, type TensorStore, tensorStore } from './tensor-store.ts';

/** Opens one safetensors file; only its header is read. @throws ModelError when the header lies */
export async function openSafetensors(source: ByteSource): Promise<TensorStore> {
  const { name, size } = source;
  const prefix = new Uint8Array(Math.min(8, size));
  await source.read(0, prefix);
  const header = new Uint8Array(headerLength(prefix, size, name));
  await source.read(8, header);
  const { entries } = parseSafetensorsHeader(header, size, name);
  const start = 8 + header.length;
  return tensorStore(
    source,
    new Map(
      entries.map(({ name, shape, dtype, from, to }) => [
        name,
        { shape, dtype, from: start + from, to: start + to },
      ]),
    ),
  );
}

/** The files that a model.safetensors.index.json names, sorted, and in which of them each tensor lies. */
export interface ShardIndex {
  files: string[];
  fileOf: ReadonlyMap<string, string>;
}

/** Reads a model.safetensors.index.json. @throws ModelError naming file and tensor */
export function parseShardIndex(index: Record<string, unknown>, file: string): ShardIndex {
  const { weight_map: map } = index;
  if (typeof map !== 'object' || map === null || Array.isArray(map))
    throw new ModelError(`${file}: field weight_map must map tensors to files`);
  const fileOf = new Map<string, string>();
  for (const [name, shard] of Object.entries(map)) {
    // A plain name of this folder: an index must not lead a reader elsewhere.
    if (typeof shard !== 'string' || !/^[\w-][\w.-]*\.safetensors$/.test(shard))
      throw new ModelError(
        `${file}: ${oneLine(`tensor ${name} lies in ${JSON.stringify(shard)}, which is no safetensors file of this folder`)}`,
      );
    fileOf.set(name, shard);
  }
  return { files: [...new Set(fileOf.values())].sort(), fileOf };
}

/**
 * Joins the opened shards of an index. What the index says and what the shards hold must be the same.
 * @param shards by the names in the index
 * @throws ModelError naming file and tensor
 */
export function joinShards(
  { files, fileOf }: ShardIndex,
  shards: ReadonlyMap<string, TensorStore>,
  index: string,
): TensorStore {
  const fail = (file: string, problem: string): never => {
    throw new ModelError(`${file}: ${oneLine(problem)}`);
  };
  for (const file of files) {
    for (const name of shards.get(file)!.names()) {
      const listed = fileOf.get(name);
      if (listed === undefined) fail(index, `tensor ${name} of ${file} is not in the index`);
      if (listed !== file)
        fail(index, `tensor ${name} should lie in ${listed}, but ${file} holds one of that name`);
    }
  }
  for (const [name, file] of fileOf)
    if (!shards.get(file)!.has(name))
      fail(index, `tensor ${name} should lie in ${file}, which does not hold it`);
  const find = (name: string): TensorStore => {
    const file = fileOf.get(name);
    return file === undefined ? fail(index, `there is no tensor ${name}`) : shards.get(file)!;
  };
  return {
    names: () => fileOf.keys(),
    has: (name) => fileOf.has(name),
    info: (name) => find(name).info(name),
    fileOf: (name) => find(name).fileOf(name),
    read: async (name) => find(name).read(name),
    stream: async (name, take) => streamTensor(find(name), name, take),
    close: async () => {
      for (const shard of shards.values()) await shard.close();
    },
  };
}
