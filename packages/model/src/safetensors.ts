import { halfToNumber } from './checkpoint/number-formats.ts';
import { oneLine } from './checkpoint/one-line.ts';
import { ModelError } from './errors.ts';

/** One tensor of a safetensors file: a view into its bytes. */
export interface StoredTensor {
  dtype: string;
  shape: readonly number[];
  bytes: Uint8Array<ArrayBuffer>;
}

export interface SafetensorsFile {
  tensors: Map<string, StoredTensor>;
  metadata: Record<string, string>;
}

const BYTES: Record<string, number> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
};
/** The longest header the reference implementation accepts. */
const LONGEST_HEADER = 100_000_000;

/** A tensor as the header describes it: where its bytes lie in the data. */
interface HeaderEntry {
  name: string;
  dtype: string;
  shape: number[];
  from: number;
  to: number;
}

/**
 * Reads a safetensors file: eight bytes of header length, a JSON header, and the data that it describes without gaps.
 * @param file what the error names
 * @throws ModelError when the header lies about sizes, offsets or shapes
 */
export function parseSafetensors(bytes: Uint8Array<ArrayBuffer>, file: string): SafetensorsFile {
  const start = 8 + headerLength(bytes, bytes.length, file);
  const { entries, metadata } = parseSafetensorsHeader(bytes.subarray(8, start), bytes.length, file);
  const tensors = new Map(
    entries.map(({ name, dtype, shape, from, to }) => [
      name,
      { dtype, shape, bytes: bytes.subarray(start + from, start + to) },
    ]),
  );
  return { tensors, metadata };
}

/** How long the header is that follows the first eight bytes. @throws ModelError when the file is too short for it */
export function headerLength(bytes: Uint8Array<ArrayBuffer>, size: number, file: string): number {
  if (bytes.length < 8) throw new ModelError(`${file}: is too short for a safetensors file`);
  const declared = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  if (declared > BigInt(Math.min(LONGEST_HEADER, size - 8)))
    throw new ModelError(`${file}: its header says it is ${declared} bytes long, the file has ${size}`);
  return Number(declared);
}

/**
 * Reads the header of a file of `size` bytes: its tensors in the order of their bytes.
 * @throws ModelError when it lies about sizes, offsets or shapes
 */
export function parseSafetensorsHeader(
  header: Uint8Array,
  size: number,
  file: string,
): { entries: HeaderEntry[]; metadata: Record<string, string> } {
  const fail = (problem: string): never => {
    throw new ModelError(`${file}: ${oneLine(problem)}`);
  };
  const { __metadata__: metadata = {}, ...described } = parseHeader(header, fail);
  if (!isTextRecord(metadata)) fail('its __metadata__ does not map names to strings');
  const entries = Object.entries(described).map(([name, entry]) => ({
    name,
    ...checkEntry(name, entry, fail),
  }));
  entries.sort((a, b) => a.from - b.from || a.to - b.to);
  const data = size - 8 - header.length;
  let end = 0;
  for (const { name, from, to } of entries) {
    if (from !== end) fail(`tensor ${name} starts at byte ${from} of the data, not at ${end}`);
    if (to > data) fail(`tensor ${name} ends at byte ${to} of the data, past the end of the file`);
    end = to;
  }
  if (end !== data) fail(`${data - end} bytes follow the last tensor`);
  return { entries, metadata: metadata as Record<string, string> };
}

function isTextRecord(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return Object.values(value).every((text) => typeof text === 'string');
}

function parseHeader(bytes: Uint8Array, fail: (problem: string) => never): Record<string, unknown> {
  let text = '';
  let header: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    header = JSON.parse(text);
  } catch {
    fail('its header is not JSON');
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header))
    fail('its header is not an object');
  const twice = nameTwice(text);
  if (twice !== null) fail(`tensor ${twice} comes twice`);
  return header as Record<string, unknown>;
}

/** The first name that an object in JSON gives twice, of which JSON.parse drops one in silence; null if there is none. */
function nameTwice(json: string): string | null {
  const names = new Set<string>();
  let depth = 0;
  let text = '';
  // Valid JSON: a string, or a sign outside of strings. Not by a regular expression, which runs out of stack within a long string.
  for (let at = 0; at < json.length; at++) {
    const sign = json[at]!;
    if (sign === '"') {
      const from = at++;
      for (; json[at] !== '"'; at++) if (json[at] === '\\') at++;
      if (depth === 1) text = json.slice(from, at + 1);
    } else if (sign === '{' || sign === '[') depth++;
    else if (sign === '}' || sign === ']') depth--;
    else if (sign === ':' && depth === 1) {
      const name = JSON.parse(text) as string;
      if (names.has(name)) return name;
      names.add(name);
    }
  }
  return null;
}

function checkEntry(
  name: string,
  entry: unknown,
  fail: (problem: string) => never,
): { dtype: string; shape: number[]; from: number; to: number } {
  const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as Record<string, unknown>;
  const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
  if (typeof dtype !== 'string') fail(`tensor ${name} has no dtype`);
  if (!Object.hasOwn(BYTES, dtype as string)) fail(`tensor ${name} has the unknown dtype ${dtype}`);
  if (!Array.isArray(shape) || !shape.every(isCount)) fail(`tensor ${name} has no valid shape`);
  if (
    !Array.isArray(offsets) ||
    offsets.length !== 2 ||
    !offsets.every(isCount) ||
    (offsets[0] ?? 0) > (offsets[1] ?? -1)
  )
    fail(`tensor ${name} has no valid data_offsets`);
  const [from, to] = offsets as [number, number];
  const size = (shape as number[]).reduce((product, extent) => product * extent, BYTES[dtype as string]!);
  if (size !== to - from)
    fail(`tensor ${name} of ${dtype} [${shape}] needs ${size} bytes, its offsets give ${to - from}`);
  return { dtype: dtype as string, shape: shape as number[], from, to };
}

/**
 * The values of a stored tensor as f32; f16 and bf16 are widened.
 * @param file what the error names, with the tensor's `name`
 * @throws ModelError for other dtypes
 */
export function toFloat32(stored: StoredTensor, name: string, file: string): Float32Array<ArrayBuffer> {
  const { dtype } = stored;
  // A copy of its own: the data need not be aligned in the file, and a Buffer's slice() would not copy.
  const { buffer } = new Uint8Array(stored.bytes);
  if (dtype === 'F32') return new Float32Array(buffer);
  if (dtype === 'BF16') {
    const words = new Uint16Array(buffer);
    return new Float32Array(Uint32Array.from(words, (word) => word << 16).buffer);
  }
  if (dtype === 'F16') return Float32Array.from(new Uint16Array(buffer), halfToNumber);
  throw new ModelError(`${file}: tensor ${name} holds ${dtype}, not numbers this model can use`);
}

/**
 * Writes f32 tensors as a safetensors file. The bytes depend on names, shapes and values alone: names are sorted, and the
 * header is padded to a multiple of eight with spaces as the reference implementation does.
 */
export function writeSafetensors(
  tensors: ReadonlyMap<string, { shape: readonly number[]; values: Float32Array }>,
  metadata: Record<string, string> = {},
): Uint8Array<ArrayBuffer> {
  const shapes = new Map([...tensors].map(([name, { shape }]) => [name, shape]));
  const { header, names, size } = safetensorsHeader(shapes, metadata);
  const bytes = new Uint8Array(size);
  bytes.set(header);
  let at = header.length;
  for (const name of names) {
    const { values } = tensors.get(name)!;
    bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), at);
    at += values.byteLength;
  }
  return bytes;
}

/**
 * What comes before the data of a safetensors file of f32 tensors.
 * @returns the tensors' names in the order of their data, and the bytes of the whole file
 */
export function safetensorsHeader(
  shapes: ReadonlyMap<string, readonly number[]>,
  metadata: Record<string, string> = {},
): { header: Uint8Array<ArrayBuffer>; names: string[]; size: number } {
  // Without a prototype even __proto__ is a name like any other.
  const described: Record<string, unknown> = Object.create(null);
  if (Object.keys(metadata).length > 0)
    described.__metadata__ = Object.fromEntries(
      Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1)),
    );
  const names = [...shapes.keys()].sort();
  let end = 0;
  for (const name of names) {
    const shape = shapes.get(name)!;
    const from = end;
    end += shape.reduce((product, extent) => product * extent, BYTES.F32!);
    described[name] = { dtype: 'F32', shape, data_offsets: [from, end] };
  }
  const text = new TextEncoder().encode(JSON.stringify(described));
  const header = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true);
  header.set(text, 8);
  return { header, names, size: header.length + end };
}
