import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ModelError } from './errors.ts';
import { parseSafetensors, toFloat32, writeSafetensors } from './safetensors.ts';

type Bytes = Uint8Array<ArrayBuffer>;

const parse = (bytes: Bytes) => parseSafetensors(bytes, 'model.safetensors');

describe('writeSafetensors', () => {
  const shapes = fc.array(fc.nat({ max: 4 }), { maxLength: 3 });
  const files = fc.dictionary(fc.string(), shapes, { maxKeys: 6 }).chain((byName) =>
    fc.tuple(
      ...Object.entries(byName).map(([name, shape]) => {
        const size = shape.reduce((a, b) => a * b, 1);
        const values = fc.float32Array({ minLength: size, maxLength: size });
        return values.map((v) => [name, { shape, values: new Float32Array(v) }] as const);
      }),
    ),
  );

  it('writes what parseSafetensors reads, bit for bit', () => {
    fc.assert(
      fc.property(files, fc.dictionary(fc.string(), fc.string(), { maxKeys: 3 }), (entries, metadata) => {
        const written = writeSafetensors(new Map(entries), metadata);
        const read = parse(written);
        expect(new Map(Object.entries(read.metadata))).toEqual(new Map(Object.entries(metadata)));
        expect(new Set(read.tensors.keys())).toEqual(new Set(entries.map(([name]) => name)));
        for (const [name, { shape, values }] of entries) {
          const stored = read.tensors.get(name)!;
          expect(stored.shape).toEqual(shape);
          expect(new Uint8Array(stored.bytes)).toEqual(new Uint8Array(values.buffer));
          expect(new Uint8Array(toFloat32(stored, name, '').buffer)).toEqual(new Uint8Array(values.buffer));
        }
      }),
      {
        numRuns: 500,
        examples: [[[['__proto__', { shape: [1], values: Float32Array.of(1) }]], { b: '', a: '' }]],
      },
    );
  });

  it('writes the same bytes whatever the order of insertion', () => {
    fc.assert(
      fc.property(files, (entries) => {
        const backwards = writeSafetensors(new Map([...entries].reverse()), { b: '1', a: '2' });
        expect(backwards).toEqual(writeSafetensors(new Map(entries), { a: '2', b: '1' }));
      }),
    );
  });

  it('writes the layout of the reference implementation', () => {
    const values = new Map([
      ['b', { shape: [1], values: Float32Array.of(-2) }],
      // A part of a larger array: only this part is written.
      ['a', { shape: [1, 2], values: Float32Array.of(9, 1, 0.5, 9).subarray(1, 3) }],
    ]);
    const bytes = writeSafetensors(values, { format: 'pt' });
    const header =
      '{"__metadata__":{"format":"pt"},' +
      '"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}';
    const padded = header.padEnd(Math.ceil(header.length / 8) * 8);
    expect(Buffer.from(bytes.subarray(8, 8 + padded.length)).toString()).toBe(padded);
    expect(new DataView(bytes.buffer).getBigUint64(0, true)).toBe(BigInt(padded.length));
    expect(bytes.subarray(8 + padded.length)).toEqual(new Uint8Array(Float32Array.of(1, 0.5, -2).buffer));
  });
});

describe('toFloat32', () => {
  const widen = (dtype: string, words: readonly number[]) =>
    toFloat32(
      { dtype, shape: [words.length], bytes: new Uint8Array(Uint16Array.from(words).buffer) },
      'w',
      'file',
    );

  it('widens every f16', () => {
    const all = Array.from({ length: 0x10000 }, (_, i) => i);
    const widened = widen('F16', all);
    // The runtime's own half floats are the reference.
    const halves = new (
      globalThis as unknown as { Float16Array: { new (buffer: ArrayBuffer): ArrayLike<number> } }
    ).Float16Array(Uint16Array.from(all).buffer);
    for (const i of all)
      if (!Object.is(widened[i], halves[i])) expect([i, widened[i]]).toEqual([i, halves[i]]);
  });

  it('widens f16 by hand: one, the largest, the subnormals, signed zeros, infinities and NaN', () => {
    const words = [0x3c00, 0x7bff, 0xfbff, 0x0001, 0x83ff, 0x0400, 0x0000, 0x8000, 0x7c00, 0xfc00, 0x7e01];
    expect(Array.from(widen('F16', words))).toEqual([
      1,
      65504,
      -65504,
      2 ** -24,
      -(2 ** -14) + 2 ** -24,
      2 ** -14,
      0,
      -0,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      Number.NaN,
    ]);
  });

  it('widens bf16: one, the largest, subnormals, signed zeros, infinities and NaN', () => {
    const words = [0x3f80, 0x7f7f, 0x0001, 0x807f, 0x0080, 0x0000, 0x8000, 0x7f80, 0xff80, 0x7fc0];
    expect(Array.from(widen('BF16', words))).toEqual([
      1,
      (2 - 2 ** -7) * 2 ** 127,
      2 ** -133,
      -127 * 2 ** -133,
      2 ** -126,
      0,
      -0,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      Number.NaN,
    ]);
  });

  it('reads data at any offset, also in a part of a Node Buffer', () => {
    const header =
      '{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"y":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}}';
    const text = new TextEncoder().encode(header);
    const plain = new Uint8Array(8 + text.length + 9);
    new DataView(plain.buffer).setBigUint64(0, BigInt(text.length), true);
    plain.set(text, 8);
    plain.set(new Uint8Array(Float32Array.of(1.5, -3).buffer), plain.length - 8);
    for (const shift of [0, 1, 3, 8]) {
      // As Node hands out files: a view somewhere in a larger, shared buffer.
      const shared = Buffer.alloc(plain.length + 64, 0xff);
      shared.set(plain, shift);
      const view = shared.subarray(shift, shift + plain.length) as unknown as Bytes;
      const { tensors } = parse(view);
      const y = toFloat32(tensors.get('y')!, 'y', '');
      expect(y).toEqual(Float32Array.of(1.5, -3));
      // A copy: writing to it leaves the file as it was.
      y.fill(0);
      expect(toFloat32(tensors.get('y')!, 'y', '')).toEqual(Float32Array.of(1.5, -3));
    }
  });

  it('refuses other data types, naming file and tensor', () => {
    const stored = { dtype: 'I64', shape: [1], bytes: new Uint8Array(8) };
    expect(() => toFloat32(stored, 'ids', 'a/model.safetensors')).toThrow(
      new ModelError('a/model.safetensors: tensor ids holds I64, not numbers this model can use'),
    );
  });
});
