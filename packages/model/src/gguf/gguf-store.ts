import type { ByteSource } from '../checkpoint/byte-source.ts';
import { type StoredRange, type TensorStore, tensorStore } from '../checkpoint/tensor-store.ts';
import { ModelError } from '../errors.ts';
import { type GgufHeader, type GgufMetadata, HeaderGoesOn, parseGgufHeader } from './gguf-header.ts';
import { llamaName, rotatedHeads, unrotate } from './llama-names.ts';

/** The tensors of a GGUF file by their names in transformers, and its metadata. */
export interface GgufStore extends TensorStore {
  metadata: GgufMetadata;
}

/** Enough for most headers without a vocabulary. */
const FIRST_READ = 2 ** 16;
/** A vocabulary of 256,000 tokens with its merges takes some 16 MiB. */
const LONGEST_HEADER = 2 ** 28;

/** Opens a GGUF file; only its header is read. @throws ModelError when the header lies */
export async function openGguf(source: ByteSource): Promise<GgufStore> {
  const { metadata, tensors } = await readHeader(source);
  const file = source.name;
  const isLlama = metadata.get('general.architecture') === 'llama';
  if (!isLlama) return { ...tensorStore(source, tensors), metadata };
  const ranges = new Map<string, StoredRange>();
  const heads = new Map<string, number>();
  for (const [stored, range] of tensors) {
    const name = llamaName(stored);
    if (ranges.has(name)) throw new ModelError(`${file}: tensor ${stored} comes twice, once as ${name}`);
    ranges.set(name, range);
    const rotated = rotatedHeads(stored, metadata, file);
    if (rotated === null) continue;
    const rows = range.shape[0] ?? 0;
    if (rows % (2 * rotated) !== 0)
      throw new ModelError(
        `${file}: tensor ${stored} has ${rows} rows, not a multiple of twice its ${rotated} heads`,
      );
    heads.set(name, rotated);
  }
  const store = tensorStore(source, ranges);
  const read = async (name: string) => {
    const values = await store.read(name);
    const rotated = heads.get(name);
    if (rotated !== undefined) unrotate(values, rotated, values.length / (store.info(name).shape[0] || 1));
    return values;
  };
  return {
    ...store,
    metadata,
    read,
    // What has to be turned is turned as a whole.
    async stream(name, take) {
      if (heads.has(name)) take(await read(name), 0);
      else await store.stream!(name, take);
    },
  };
}

/** A header does not say how long it is: reads twice as much until it ends. */
async function readHeader(source: ByteSource): Promise<GgufHeader> {
  for (let length = FIRST_READ; ; length *= 2) {
    const prefix = new Uint8Array(Math.min(length, source.size));
    await source.read(0, prefix);
    try {
      return parseGgufHeader(prefix, source.size, source.name);
    } catch (error) {
      if (!(error instanceof HeaderGoesOn)) throw error;
      if (length >= LONGEST_HEADER)
        throw new ModelError(`${source.name}: its header is longer than ${LONGEST_HEADER} bytes`);
    }
  }
}
