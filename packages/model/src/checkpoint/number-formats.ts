// How stored numbers become f32. Blocks of GGUF: 32 values with a scale d (and a minimum m) in f16, by the definitions of
// ggml: Q4_0 (q - 8) d, Q4_1 q d + m, Q8_0 q d. A q of at most 8 bits times a d of 11 is exact in f64 and f32, so there is
// one rounding at most, that of the sum, and the result does not depend on how it is computed.

/** Decodes whole blocks from `bytes` into `target` at value `at`. */
type Decode = (bytes: Uint8Array<ArrayBuffer>, target: Float32Array, at: number) => void;

export interface NumberFormat {
  /** Values and bytes of one block. */
  values: number;
  bytes: number;
  /** Null where the bytes are those of f32 already. */
  decode: Decode | null;
}

/** Bytes of an f16 as a number. NaN stays NaN, whatever its payload. */
export function halfToNumber(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

let halves: Float32Array | null = null;
/** All 65,536 f16 as f32: a look-up is several times faster than the arithmetic. */
function halfTable(): Float32Array {
  halves ??= Float32Array.from({ length: 65536 }, (_, half) => halfToNumber(half));
  return halves;
}

const f16: Decode = (bytes, target, at) => {
  const table = halfTable();
  const stored = halvesOf(bytes);
  for (let i = 0; i < stored.length; i++) target[at + i] = table[stored[i]!]!;
};

const bf16: Decode = (bytes, target, at) => {
  // As words: a NaN keeps its payload. Two of them at a time take half as long as byte by byte.
  const words = new Int32Array(target.buffer, target.byteOffset + 4 * at);
  const stored = halvesOf(bytes);
  const pairs = stored.byteOffset % 4 === 0 ? stored.length >> 1 : 0;
  const both = new Int32Array(stored.buffer, pairs === 0 ? 0 : stored.byteOffset, pairs);
  for (let i = 0; i < pairs; i++) {
    const pair = both[i]!;
    words[2 * i] = pair << 16;
    words[2 * i + 1] = pair & ~0xffff;
  }
  for (let i = 2 * pairs; i < stored.length; i++) words[i] = stored[i]! << 16;
};

/** Bytes as 16-bit numbers, low byte first in files and in memory; copied where they begin at an odd place. */
function halvesOf(bytes: Uint8Array<ArrayBuffer>): Uint16Array<ArrayBuffer> {
  const { buffer, byteOffset, length } = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  return new Uint16Array(buffer, byteOffset, length >> 1);
}

/** Nibbles: the low ones of 16 bytes are the first half of a block, the high ones the second. */
const q4_0: Decode = (bytes, target, at) => {
  const table = halfTable();
  for (let block = 0; block < bytes.length; block += 18, at += 32) {
    const d = table[bytes[block]! | (bytes[block + 1]! << 8)]!;
    for (let i = 0; i < 16; i++) {
      const pair = bytes[block + 2 + i]!;
      target[at + i] = ((pair & 15) - 8) * d;
      target[at + 16 + i] = ((pair >> 4) - 8) * d;
    }
  }
};

const q4_1: Decode = (bytes, target, at) => {
  const table = halfTable();
  for (let block = 0; block < bytes.length; block += 20, at += 32) {
    const d = table[bytes[block]! | (bytes[block + 1]! << 8)]!;
    const m = table[bytes[block + 2]! | (bytes[block + 3]! << 8)]!;
    for (let i = 0; i < 16; i++) {
      const pair = bytes[block + 4 + i]!;
      target[at + i] = (pair & 15) * d + m;
      target[at + 16 + i] = (pair >> 4) * d + m;
    }
  }
};

const q8_0: Decode = (bytes, target, at) => {
  const table = halfTable();
  for (let block = 0; block < bytes.length; block += 34, at += 32) {
    const d = table[bytes[block]! | (bytes[block + 1]! << 8)]!;
    for (let i = 0; i < 32; i++) target[at + i] = ((bytes[block + 2 + i]! << 24) >> 24) * d;
  }
};

/** What a model can use, by the names that both file formats give it. */
export const NUMBER_FORMATS: ReadonlyMap<string, NumberFormat> = new Map([
  ['F32', { values: 1, bytes: 4, decode: null }],
  ['F16', { values: 1, bytes: 2, decode: f16 }],
  ['BF16', { values: 1, bytes: 2, decode: bf16 }],
  ['Q4_0', { values: 32, bytes: 18, decode: q4_0 }],
  ['Q4_1', { values: 32, bytes: 20, decode: q4_1 }],
  ['Q8_0', { values: 32, bytes: 34, decode: q8_0 }],
]);
