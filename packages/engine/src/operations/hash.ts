import { bytesOf, WEIGHT_TYPES } from '../data-type.ts';
import { type Apply, gridOf, operation } from '../operation.ts';
import { scope } from '../scope.ts';
import { empty, type Tensor } from '../tensor.ts';
import { pad, reshape } from './layout.ts';

const SEEDS = [0x9e3779b9, 0x3c6ef372, 0xdaa66d2b, 0x78dde6e4] as const;
/** Most invocations that share the words of a tensor. Changes no bit of a hash. */
const MOST_SUMS = 4096;

/** The finaliser of MurmurHash3: one-to-one on 32-bit words. */
function fmix(h: number): number {
  let x = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** The four words of the hash of an array of bytes; words are little-endian, the last one filled with zeros. */
function hashWords(bytes: Uint8Array): [number, number, number, number] {
  const sums = [0, 0, 0, 0];
  for (let i = 0; 4 * i < bytes.length; i++) {
    let word = 0;
    for (let j = 0; j < 4; j++) word |= (bytes[4 * i + j] ?? 0) << (8 * j);
    for (let lane = 0; lane < 4; lane++) sums[lane] = (sums[lane]! + fmix(word ^ fmix(i ^ SEEDS[lane]!))) | 0;
  }
  return sums.map((sum) => fmix((sum + bytes.length) | 0)) as [number, number, number, number];
}

function toHex(words: Iterable<number>): string {
  return Array.from(words, (word) => word.toString(16).padStart(8, '0')).join('');
}

const applyHash: Apply<void> = operation<void>({
  name: 'byteHash',
  summary: 'four u32 words, a hash of the bytes and their places; not cryptographic',
  dtypes: [['u32', ...WEIGHT_TYPES]],
  result: 'u32',
  shape: () => [4],
  forward: ({ inputs: [x], output }) => {
    const bytes = bytesOf(x!.dtype, x!.shape);
    const stride = Math.min(bytes / 4, MOST_SUMS);
    const sums = empty(x!.device, [stride, 4], 'u32');
    x!.device.dispatch('hash/words', {
      bindings: [x!.storage, sums.storage],
      params: Uint32Array.of(bytes / 4, stride, 0, 0),
      writes: [1],
      workgroups: gridOf(stride),
    });
    x!.device.dispatch('hash/finish', {
      bindings: [sums.storage, output.storage],
      params: Uint32Array.of(stride, bytes, 0, 0),
      writes: [1],
      workgroups: [1, 1, 1],
    });
  },
  reference: ([x]) => Float64Array.from(hashWords(new Uint8Array(Float32Array.from(x!.data).buffer))),
  cases: [
    { inputs: [[1]], attributes: undefined },
    { inputs: [[3, 7]], attributes: undefined },
    { inputs: [[5000]], attributes: undefined },
  ],
});

/** With zeros behind an odd number of f16, where kernels may leave anything. */
function wholeWords(x: Tensor): Tensor {
  return x.dtype === 'f16' && x.size % 2 === 1 ? pad(reshape(x.detach(), [x.size]), 0, 0, x.size + 1) : x;
}

/**
 * A hash of a tensor's bytes (of a frozen weight: its packed words and scales) as 32 hexadecimal digits, computed where they lie: equal for equal bytes on every adapter, different
 * after any change of a single word, and by chance of about 2^-128 equal after others. It finds faults, not forgeries: it is
 * not cryptographic, and whoever wants two tensors of one hash can make them.
 */
export async function byteHash(x: Tensor): Promise<string> {
  const words = scope(() => applyHash([wholeWords(x)], undefined));
  try {
    return toHex(await words.readUint32());
  } finally {
    words.dispose();
  }
}

/** What `byteHash` gives for a tensor of these bytes, computed on the host. */
export function byteHashOf(bytes: Uint8Array): string {
  return toHex(hashWords(bytes));
}
