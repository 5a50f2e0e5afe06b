// What a damaged or malicious file may do to the reader: be refused, in one line, and nothing else.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ModelError } from './errors.ts';
import { parseSafetensors, toFloat32, writeSafetensors } from './safetensors.ts';

type Bytes = Uint8Array<ArrayBuffer>;

const encode = (text: string) => new TextEncoder().encode(text);

/** A file of the given header, as text or as JSON, and so many bytes of data. */
function fileOf(header: unknown, dataBytes = 0): Bytes {
  const text = encode(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  for (let i = 0; i < dataBytes; i++) bytes[8 + text.length + i] = i + 1;
  return bytes;
}

/** A tensor of f32 in a header. */
const f32 = (shape: unknown, data_offsets: unknown) => ({ dtype: 'F32', shape, data_offsets });

const parse = (bytes: Bytes) => parseSafetensors(bytes, 'model.safetensors');

/** Parses bytes that may be anything: all that may come of it is a consistent file without copies, or a ModelError. */
function parseHostile(bytes: Bytes): 'parsed' | 'refused' {
  try {
    const { tensors, metadata } = parse(bytes);
    let data = 0;
    for (const [name, { shape, dtype, bytes: view }] of tensors) {
      // Views of the input: whatever the header claims, nothing is allocated.
      expect(view.buffer).toBe(bytes.buffer);
      expect(view.length % (shape.reduce((a, b) => a * b, 1) || 1)).toBe(0);
      data += view.length;
      if (dtype === 'F32')
        expect(toFloat32({ dtype, shape, bytes: view }, name, 'f').byteLength).toBe(view.length);
    }
    expect(data).toBeLessThanOrEqual(bytes.length);
    expect(Object.values(metadata).every((value) => typeof value === 'string')).toBe(true);
    return 'parsed';
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    expect(error.message).toMatch(/^model\.safetensors: .{1,400}$/);
    return 'refused';
  }
}

describe('parseSafetensors on a header that lies', () => {
  const cases: [string, Bytes, string][] = [
    ['an empty file', new Uint8Array(0), 'is too short'],
    ['seven bytes', new Uint8Array(7), 'is too short'],
    [
      'a header past the end',
      Uint8Array.of(3, 0, 0, 0, 0, 0, 0, 0, 123, 125),
      'its header says it is 3 bytes long',
    ],
    [
      'a header of 2^63 bytes',
      Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 128, 123, 125),
      'its header says it is 9223372036854775808',
    ],
    [
      'a header of 2^64 - 1 bytes',
      new Uint8Array(16).fill(255),
      'its header says it is 18446744073709551615',
    ],
    ['a header that is not UTF-8', new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0, 255]), 'its header is not JSON'],
    ['a header that is not JSON', fileOf('{"a":'), 'its header is not JSON'],
    ['an empty header', fileOf(''), 'its header is not JSON'],
    ['a header nested 100,000 deep', fileOf('['.repeat(100_000)), 'its header is not JSON'],
    ['a list as header', fileOf('[]'), 'its header is not an object'],
    ['null as header', fileOf('null'), 'its header is not an object'],
    ['a number as header', fileOf('7'), 'its header is not an object'],
    ['a tensor that is null', fileOf({ a: null }), 'tensor a has no dtype'],
    ['a tensor that is a number', fileOf({ a: 3 }), 'tensor a has no dtype'],
    ['no dtype', fileOf({ a: { shape: [1], data_offsets: [0, 4] } }, 4), 'tensor a has no dtype'],
    [
      'a dtype without a string form',
      fileOf('{"a":{"dtype":{"toString":1,"valueOf":1}}}'),
      'tensor a has no dtype',
    ],
    [
      'a deeply nested dtype',
      fileOf(`{"a":{"dtype":${'['.repeat(3000)}${']'.repeat(3000)}}}`),
      'tensor a has no dtype',
    ],
    [
      'an unknown dtype',
      fileOf({ a: { ...f32([1], [0, 4]), dtype: 'F8_E4M3' } }, 4),
      'tensor a has the unknown dtype F8_E4M3',
    ],
    [
      'a dtype of every object',
      fileOf({ a: { ...f32([], [0, 4]), dtype: 'constructor' } }, 4),
      'tensor a has the unknown dtype constructor',
    ],
    ['no shape', fileOf({ a: f32(undefined, [0, 4]) }, 4), 'tensor a has no valid shape'],
    ['a negative extent', fileOf({ a: f32([-1], [0, 4]) }, 4), 'tensor a has no valid shape'],
    ['two negative extents', fileOf({ a: f32([-1, -1], [0, 4]) }, 4), 'tensor a has no valid shape'],
    ['half an extent', fileOf({ a: f32([0.5, 2], [0, 4]) }, 4), 'tensor a has no valid shape'],
    ['an extent as text', fileOf({ a: f32(['1'], [0, 4]) }, 4), 'tensor a has no valid shape'],
    ['an extent of 1e300', fileOf({ a: f32([1e300], [0, 4]) }, 4), 'tensor a has no valid shape'],
    [
      'extents whose product overflows',
      fileOf({ a: f32(Array(40).fill(2 ** 52), [0, 4]) }, 4),
      'tensor a of F32',
    ],
    [
      'extents whose product is 0 * Infinity',
      fileOf({ a: f32([...Array(40).fill(2 ** 52), 0], [0, 0]) }),
      'tensor a of F32',
    ],
    ['no offsets', fileOf({ a: f32([1], undefined) }, 4), 'tensor a has no valid data_offsets'],
    ['one offset', fileOf({ a: f32([1], [0]) }, 4), 'tensor a has no valid data_offsets'],
    ['three offsets', fileOf({ a: f32([1], [0, 4, 8]) }, 4), 'tensor a has no valid data_offsets'],
    [
      'offsets as an object',
      fileOf({ a: f32([1], { 0: 0, 1: 4, length: 2 }) }, 4),
      'tensor a has no valid data_offsets',
    ],
    ['a negative offset', fileOf({ a: f32([1], [-4, 0]) }, 4), 'tensor a has no valid data_offsets'],
    ['half an offset', fileOf({ a: f32([1], [0.5, 4.5]) }, 4), 'tensor a has no valid data_offsets'],
    ['offsets that fall', fileOf({ a: f32([1], [4, 0]) }, 4), 'tensor a has no valid data_offsets'],
    [
      'offsets past 2^53',
      fileOf({ a: f32([2 ** 52], [0, 2 ** 54]) }, 4),
      'tensor a has no valid data_offsets',
    ],
    [
      'a tensor past the end',
      fileOf({ a: f32([2], [0, 8]) }, 4),
      'tensor a ends at byte 8 of the data, past the end',
    ],
    [
      'a tensor of 8 PiB',
      fileOf({ a: f32([2 ** 51 - 1], [0, 2 ** 53 - 4]) }, 4),
      'tensor a ends at byte 9007199254740988',
    ],
    [
      "a size that is not the shape's",
      fileOf({ a: f32([2], [0, 4]) }, 4),
      'tensor a of F32 [2] needs 8 bytes, its offsets give 4',
    ],
    [
      'overlapping tensors',
      fileOf({ a: f32([2], [0, 8]), b: f32([1], [4, 8]) }, 8),
      'tensor b starts at byte 4 of the data, not at 8',
    ],
    [
      'one tensor twice',
      fileOf({ a: f32([1], [0, 4]), b: f32([1], [0, 4]) }, 4),
      'tensor b starts at byte 0 of the data, not at 4',
    ],
    [
      'a gap before the first',
      fileOf({ a: f32([1], [4, 8]) }, 8),
      'tensor a starts at byte 4 of the data, not at 0',
    ],
    [
      'a gap between two',
      fileOf({ a: f32([1], [0, 4]), b: f32([1], [8, 12]) }, 12),
      'tensor b starts at byte 8 of the data, not at 4',
    ],
    ['bytes after the last', fileOf({ a: f32([1], [0, 4]) }, 5), '1 bytes follow the last tensor'],
    ['bytes of no tensor', fileOf({}, 5), '5 bytes follow the last tensor'],
    // JSON takes the last of two entries with one name, even where both say the same.
    [
      'a name twice',
      fileOf(
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
        8,
      ),
      'tensor a comes twice',
    ],
    [
      'one name written in two ways',
      fileOf(
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"\\u0061":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        4,
      ),
      'tensor a comes twice',
    ],
    [
      'metadata that is text',
      fileOf({ __metadata__: 'pt' }),
      'its __metadata__ does not map names to strings',
    ],
    [
      'metadata that is a list',
      fileOf({ __metadata__: ['pt'] }),
      'its __metadata__ does not map names to strings',
    ],
    [
      'metadata with a number',
      fileOf({ __metadata__: { format: 1 } }),
      'its __metadata__ does not map names to strings',
    ],
    ['a name of many lines', fileOf({ ['a\nb\u2028c'.repeat(200)]: f32([1], [0, 4]) }), 'tensor a b c'],
  ];

  it.each(cases)('refuses %s', (_title, bytes, problem) => {
    expect(() => parse(bytes)).toThrow(`model.safetensors: ${problem}`);
    expect(parseHostile(bytes)).toBe('refused');
  });

  it('takes a tensor named __proto__ for a tensor', () => {
    const header = '{"__proto__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}';
    const { tensors } = parse(fileOf(header, 4));
    expect([...tensors.keys()]).toEqual(['__proto__']);
    expect(Object.prototype).not.toHaveProperty('dtype');
    expect(() => parse(fileOf(header))).toThrow('tensor __proto__ ends at byte 4 of the data, past the end');
    expect(parse(fileOf('{"__metadata__":{"__proto__":"x"}}')).tensors.size).toBe(0);
  });

  it('takes metadata of any length', () => {
    const note = `"${'x'.repeat(2e7)}\\`;
    expect(parse(fileOf({ __metadata__: { note } })).metadata).toEqual({ note });
  });

  it('takes empty tensors, scalars and a file without tensors', () => {
    const header = { a: f32([0, 5], [0, 0]), b: f32([], [0, 4]), c: f32([2, 0], [4, 4]) };
    const { tensors } = parse(fileOf(header, 4));
    expect([...tensors].map(([name, { bytes }]) => [name, bytes.length])).toEqual([
      ['a', 0],
      ['b', 4],
      ['c', 0],
    ]);
    expect(parse(fileOf({})).tensors.size).toBe(0);
  });
});

describe('parseSafetensors on hostile bytes', () => {
  const valid = writeSafetensors(
    new Map([
      ['encoder.0', { shape: [2, 3], values: Float32Array.of(1, 2, 3, 4, 5, 6) }],
      ['encoder.1', { shape: [4], values: Float32Array.of(7, 8, 9, 10) }],
      ['empty', { shape: [0], values: new Float32Array(0) }],
    ]),
    { format: 'pt' },
  );
  const headerEnd = 8 + Number(new DataView(valid.buffer).getBigUint64(0, true));
  const count = { parsed: 0, refused: 0 };
  const note = (bytes: Bytes) => {
    count[parseHostile(bytes)]++;
  };

  it('survives 8,000 mutations of a valid file', () => {
    // Most of them where it hurts: in the header and its length.
    const place = fc.oneof(
      { weight: 6, arbitrary: fc.nat({ max: headerEnd - 1 }) },
      { weight: 1, arbitrary: fc.nat({ max: valid.length - 1 }) },
    );
    const byte = fc.oneof(fc.nat({ max: 255 }), fc.constantFrom(...encode('0123456789-.eE[]{}",: \\ntfu')));
    const mutation = fc.oneof(
      fc.record({ kind: fc.constant('set' as const), place, byte }),
      fc.record({ kind: fc.constant('insert' as const), place, byte }),
      fc.record({ kind: fc.constant('remove' as const), place, byte }),
      fc.record({ kind: fc.constant('cut' as const), place, byte }),
    );
    fc.assert(
      fc.property(
        fc.array(mutation, { minLength: 1, maxLength: 4 }),
        fc.boolean(),
        (mutations, isLengthKept) => {
          const bytes = Array.from(valid);
          for (const { kind, place: at, byte: value } of mutations) {
            if (kind === 'set') bytes[at] = value;
            else if (kind === 'insert') bytes.splice(at, 0, value);
            else if (kind === 'remove') bytes.splice(at, 1);
            else bytes.length = Math.min(at, bytes.length);
          }
          const mutated = Uint8Array.from(bytes, (value) => value ?? 0);
          // Half of the time the length goes with the header, so that the damage reaches the JSON.
          const header = mutated.length - (valid.length - headerEnd) - 8;
          if (isLengthKept && header > 0) new DataView(mutated.buffer).setBigUint64(0, BigInt(header), true);
          note(mutated);
        },
      ),
      { numRuns: 8000 },
    );
  });

  it('survives 6,000 headers of well-formed JSON that say anything', () => {
    const number = fc.oneof(
      fc.nat({ max: 12 }),
      fc.constantFrom(-1, 0.5, 2 ** 31, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 2 ** 64, 1e308, -0),
    );
    const numbers = fc.oneof(fc.array(number, { maxLength: 4 }), fc.jsonValue());
    const entry = fc.record(
      {
        dtype: fc.oneof(
          { weight: 8, arbitrary: fc.constantFrom('F32', 'F16', 'BF16', 'U8', 'I64', 'BOOL') },
          { weight: 1, arbitrary: fc.constantFrom('f32', 'toString', '__proto__', 'hasOwnProperty', '') },
          { weight: 1, arbitrary: fc.jsonValue() },
        ),
        shape: numbers,
        data_offsets: fc.oneof(
          { weight: 3, arbitrary: fc.tuple(number, number) },
          { weight: 1, arbitrary: numbers },
        ),
      },
      { requiredKeys: [] },
    );
    const name = fc.oneof(
      fc.string(),
      fc.constantFrom('a', 'b', '__proto__', '__metadata__', 'constructor', 'toString', '0'),
    );
    const header = fc
      .array(
        fc.tuple(name, fc.oneof({ weight: 6, arbitrary: entry }, { weight: 1, arbitrary: fc.jsonValue() })),
        {
          maxLength: 4,
        },
      )
      // Written by hand, so that names may come twice.
      .map((entries) => `{${entries.map((pair) => pair.map((v) => JSON.stringify(v)).join(':')).join()}}`);
    fc.assert(
      fc.property(header, fc.nat({ max: 24 }), (text, data) => note(fileOf(text, data))),
      { numRuns: 6000 },
    );
  });

  it('survives 4,000 files of random bytes', () => {
    const random = fc.uint8Array({ maxLength: 64 }).map((bytes) => new Uint8Array(bytes));
    fc.assert(
      fc.property(random, fc.boolean(), (bytes, isLengthPlausible) => {
        if (isLengthPlausible && bytes.length > 8)
          new DataView(bytes.buffer).setBigUint64(0, BigInt(bytes.length - 8 - (bytes[8]! % 4)), true);
        note(bytes);
      }),
      { numRuns: 4000 },
    );
  });

  it('met both files it takes and files it refuses', () => {
    expect(count.parsed).toBeGreaterThan(100);
    expect(count.refused).toBeGreaterThan(10_000);
  });
});
