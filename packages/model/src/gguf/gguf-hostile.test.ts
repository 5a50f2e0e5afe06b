// What a damaged or malicious GGUF file may do to the reader: be refused, in one line, and nothing else.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { memorySource } from '../checkpoint/byte-source.ts';
import { NUMBER_FORMATS } from '../checkpoint/number-formats.ts';
import { ModelError } from '../errors.ts';
import { HeaderGoesOn, parseGgufHeader } from './gguf-header.ts';
import { openGguf } from './gguf-store.ts';

type Bytes = Uint8Array<ArrayBuffer>;
const u32 = (value: number) => [...new Uint8Array(Uint32Array.of(value).buffer)];
const u64 = (value: number | bigint) => [...new Uint8Array(BigUint64Array.of(BigInt(value)).buffer)];
const text = (value: string) => {
  const bytes = new TextEncoder().encode(value);
  return [...u64(bytes.length), ...bytes];
};

type TensorLine = { name?: string; dims?: (number | bigint)[]; type?: number; offset?: number | bigint };
const tensorLine = ({ name = 'a', dims = [4], type = 0, offset = 0 }: TensorLine) => [
  ...text(name),
  ...u32(dims.length),
  ...dims.flatMap(u64),
  ...u32(type),
  ...u64(offset),
];

interface Parts {
  magic?: string;
  version?: number;
  tensorCount?: number | bigint;
  keyCount?: number | bigint;
  keys?: number[][];
  tensors?: TensorLine[];
  data?: number;
}

function fileOf({
  magic = 'GGUF',
  version = 3,
  keys = [],
  tensors = [],
  data = 16,
  ...counts
}: Parts): Bytes {
  const header = [
    ...new TextEncoder().encode(magic),
    ...u32(version),
    ...u64(counts.tensorCount ?? tensors.length),
    ...u64(counts.keyCount ?? keys.length),
    ...keys.flat(),
    ...tensors.flatMap(tensorLine),
  ];
  const bytes = new Uint8Array(Math.ceil(header.length / 32) * 32 + data);
  bytes.set(header);
  return bytes;
}

const parse = (bytes: Bytes) => parseGgufHeader(bytes, bytes.length, 'model.gguf');

/** All that may come of bytes: tensors within the file that do not touch, or a ModelError. */
function parseHostile(bytes: Bytes): 'parsed' | 'refused' {
  try {
    const ranges = [...parse(bytes).tensors.values()].sort((a, b) => a.from - b.from || a.to - b.to);
    let end = 24;
    for (const { dtype, shape, from, to } of ranges) {
      const format = NUMBER_FORMATS.get(dtype)!;
      expect(to - from).toBe((shape.reduce((a, b) => a * b, 1) / format.values) * format.bytes);
      expect(from).toBeGreaterThanOrEqual(end);
      end = to;
    }
    expect(end).toBeLessThanOrEqual(bytes.length);
    return 'parsed';
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    expect(error.message).toMatch(/^model\.gguf: .{1,400}$/);
    return 'refused';
  }
}

const listOf = (depth: number): number[] =>
  depth === 0 ? [...u32(0), ...u64(0)] : [...u32(9), ...u64(1), ...listOf(depth - 1)];

describe('parseGgufHeader on a header that lies', () => {
  const cases: [string, Bytes, string][] = [
    ['an empty file', new Uint8Array(0), 'is too short'],
    ['a file of the magic alone', fileOf({}).slice(0, 20), 'is too short'],
    ['another magic', fileOf({ magic: 'GGML' }), 'is not a GGUF file'],
    ['version 1', fileOf({ version: 1 }), 'is GGUF version 1; this reads 2 and 3'],
    ['a big-endian version', fileOf({ version: 3 << 24 }), 'is GGUF version 50331648'],
    [
      '2^64 - 1 tensors',
      fileOf({ tensorCount: 2n ** 64n - 1n }),
      'the number of tensors is 18446744073709551615',
    ],
    [
      'a million tensors',
      fileOf({ tensorCount: 1e6 }),
      'the number of tensors is 1000000, for which the file is too short',
    ],
    ['2^40 keys', fileOf({ keyCount: 2 ** 40 }), 'the number of metadata keys is 1099511627776'],
    [
      'a key of 2^50 bytes',
      fileOf({ keys: [u64(2 ** 50)] }),
      'the length of metadata key 0 is 1125899906842624',
    ],
    [
      'a key that is not UTF-8',
      fileOf({ keys: [[...u64(5), 255, 255, 255, 255, 255, ...u32(0), 0]] }),
      'metadata key 0 is not UTF-8',
    ],
    [
      'a key twice',
      fileOf({
        keys: [
          [...text('k'), ...u32(0), 1],
          [...text('k'), ...u32(0), 1],
        ],
      }),
      'metadata key k comes twice',
    ],
    [
      'an unknown value type',
      fileOf({ keys: [[...text('k'), ...u32(13)]] }),
      'metadata k has the unknown type 13',
    ],
    [
      'a list of an unknown type',
      fileOf({ keys: [[...text('k'), ...u32(9), ...u32(77), ...u64(0)]] }),
      'metadata k has the unknown type 77',
    ],
    [
      'a list of 2^45',
      fileOf({ keys: [[...text('k'), ...u32(9), ...u32(8), ...u64(2 ** 45)]] }),
      'the length of metadata k is 35184372088832',
    ],
    [
      'lists in lists',
      fileOf({ keys: [[...text('k'), ...u32(9), ...listOf(9)]] }),
      'metadata k is a list nested more than 4 deep',
    ],
    [
      'an alignment of 0',
      fileOf({ keys: [[...text('general.alignment'), ...u32(4), ...u32(0)]] }),
      'metadata general.alignment must be',
    ],
    [
      'an alignment of text',
      fileOf({ keys: [[...text('general.alignment'), ...u32(8), ...text('x')]] }),
      'metadata general.alignment must be',
    ],
    ['five axes', fileOf({ tensors: [{ dims: [1, 1, 1, 1, 1] }] }), 'tensor a has 5 axes'],
    [
      'an extent of 2^60',
      fileOf({ tensors: [{ dims: [2n ** 60n] }] }),
      'an extent of tensor a is 1152921504606846976',
    ],
    [
      'extents that overflow',
      fileOf({ tensors: [{ dims: [2 ** 50, 2 ** 50, 2 ** 50, 2 ** 50] }] }),
      'tensor a of F32 [1125899906842624,',
    ],
    [
      'a tensor past the end',
      fileOf({ tensors: [{ dims: [5] }] }),
      'tensor a of F32 [5] ends at byte 20 of the data, past the end',
    ],
    [
      'an offset past the end',
      fileOf({ tensors: [{ offset: 2 ** 52 }] }),
      'tensor a of F32 [4] ends at byte 4503599627370512',
    ],
    [
      'an offset of 2^63',
      fileOf({ tensors: [{ offset: 2n ** 63n }] }),
      'the offset of tensor a is 9223372036854775808',
    ],
    [
      'an offset off the grid',
      fileOf({ tensors: [{ offset: 4 }], data: 64 }),
      'tensor a starts at byte 4 of the data, not a multiple of 32',
    ],
    ['a tensor twice', fileOf({ tensors: [{}, { offset: 32 }], data: 64 }), 'tensor a comes twice'],
    [
      'overlapping tensors',
      fileOf({ tensors: [{ dims: [9] }, { name: 'b', offset: 32 }], data: 64 }),
      'tensor b lies on tensor a',
    ],
    ['one tensor on another', fileOf({ tensors: [{}, { name: 'b' }] }), 'tensor b lies on tensor a'],
    [
      'a quantisation it does not read',
      fileOf({ tensors: [{ type: 14 }] }),
      'tensor a is Q6_K; this reads F32, F16',
    ],
    ['an unknown type', fileOf({ tensors: [{ type: 999 }] }), 'tensor a is type 999; this reads'],
    [
      'half a block',
      fileOf({ tensors: [{ dims: [48], type: 2 }], data: 64 }),
      'tensor a of Q4_0 has rows of 48 values, not a multiple of 32',
    ],
    [
      'a quantised scalar',
      fileOf({ tensors: [{ dims: [], type: 8 }], data: 64 }),
      'tensor a of Q8_0 has rows of',
    ],
    [
      'a name of many lines',
      fileOf({ tensors: [{ name: 'x\n\u2028y'.repeat(99), dims: [5] }] }),
      'tensor x yx y',
    ],
  ];
  it.each(cases)('refuses %s', (_title, bytes, problem) => {
    expect(() => parse(bytes)).toThrow(`model.gguf: ${problem}`);
    expect(parseHostile(bytes)).toBe('refused');
  });

  it('takes scalars, empty tensors, unordered and loose ones', () => {
    const tensors = [{ offset: 64 }, { name: 'b', dims: [] }, { name: 'c', dims: [0, 3], offset: 32 }];
    const header = parse(fileOf({ tensors, data: 80 }));
    expect([...header.tensors].map(([name, { shape }]) => [name, shape])).toEqual([
      ['a', [4]],
      ['b', []],
      ['c', [3, 0]],
    ]);
  });

  it('gives no store of a file of which one tensor lies', async () => {
    const bytes = fileOf({ tensors: [{}, { name: 'b', dims: [1000], offset: 32 }], data: 64 });
    await expect(openGguf(memorySource(bytes, 'model.gguf'))).rejects.toThrow(
      'model.gguf: tensor b of F32 [1000] ends at',
    );
  });

  it('reads a header longer than its first read', async () => {
    const keys = Array.from({ length: 40 }, (_, i) => [
      ...text(`k${i}`),
      ...u32(8),
      ...text('v'.repeat(5000)),
    ]);
    const bytes = fileOf({ keys, tensors: [{}] });
    expect(() => parseGgufHeader(bytes.slice(0, 1000), bytes.length, 'f')).toThrow(HeaderGoesOn);
    const store = await openGguf(memorySource(bytes, 'model.gguf'));
    expect(store.metadata.size).toBe(40);
    expect(await store.read('a')).toEqual(new Float32Array(4));
  });
});

describe('parseGgufHeader on hostile bytes', () => {
  const valid = fileOf({
    keys: [
      [...text('general.architecture'), ...u32(8), ...text('llama')],
      [...text('n'), ...u32(4), ...u32(7)],
      [...text('list'), ...u32(9), ...u32(8), ...u64(2), ...text('a'), ...text('b')],
    ],
    tensors: [
      { dims: [4, 2] },
      { name: 'b', dims: [32, 2], type: 2, offset: 32 },
      { name: 'c', dims: [3], type: 1, offset: 96 },
    ],
    data: 102,
  });
  const count = { parsed: 0, refused: 0 };
  const note = (bytes: Bytes) => {
    count[parseHostile(bytes)]++;
  };

  it('survives 7,000 mutations of a valid file', () => {
    expect(parseHostile(valid)).toBe('parsed');
    const place = fc.nat({ max: valid.length - 1 });
    const byte = fc.oneof(fc.nat({ max: 255 }), fc.constantFrom(0, 1, 2, 8, 9, 127, 128, 255));
    const kind = fc.constantFrom(
      'set' as const,
      'set' as const,
      'insert' as const,
      'remove' as const,
      'cut' as const,
    );
    const mutation = fc.record({ kind, place, byte });
    fc.assert(
      fc.property(fc.array(mutation, { minLength: 1, maxLength: 4 }), (mutations) => {
        const bytes = Array.from(valid);
        for (const { kind, place: at, byte: value } of mutations) {
          if (kind === 'set') bytes[at] = value;
          else if (kind === 'insert') bytes.splice(at, 0, value);
          else if (kind === 'remove') bytes.splice(at, 1);
          else bytes.length = Math.min(at, bytes.length);
        }
        note(Uint8Array.from(bytes, (value) => value ?? 0));
      }),
      { numRuns: 7000 },
    );
  });

  it('survives 5,000 well-formed headers that say anything', () => {
    const number = fc.oneof(
      fc.nat({ max: 96 }).map(BigInt),
      fc.constantFrom(0n, 32n, 64n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n),
    );
    const tensor = fc.record({
      name: fc.oneof(fc.string({ maxLength: 3 }), fc.constantFrom('a', '__proto__', 'token_embd.weight')),
      dims: fc.array(number, { maxLength: 3 }),
      type: fc.oneof(
        { weight: 5, arbitrary: fc.constantFrom(0, 1, 2, 3, 8, 30) },
        { weight: 1, arbitrary: fc.nat() },
      ),
      offset: fc.oneof(fc.constantFrom(0, 32, 64, 96), number),
    });
    fc.assert(
      fc.property(fc.array(tensor, { maxLength: 3 }), fc.nat({ max: 300 }), (tensors, data) =>
        note(fileOf({ tensors, data })),
      ),
      { numRuns: 5000 },
    );
  });

  it('met both files it takes and files it refuses', () => {
    expect(count.parsed).toBeGreaterThan(500);
    expect(count.refused).toBeGreaterThan(5000);
  });
});
