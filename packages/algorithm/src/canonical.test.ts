import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type CanonicalValue,
  canonicalJson,
  digestOf,
  hmacSha256Hex,
  preparedHmac,
  sha256Hex,
} from './canonical.ts';
import { AlgorithmError } from './errors.ts';

const json = fc.jsonValue() as fc.Arbitrary<CanonicalValue>;

/** The same value with the keys of every object inserted the other way round. */
function reversed(value: CanonicalValue): CanonicalValue {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).reverse();
  return Object.fromEntries(entries.map(([key, item]) => [key, reversed(item)]));
}

describe('canonicalJson', () => {
  it('does not depend on the order of keys', () => {
    fc.assert(fc.property(json, (value) => canonicalJson(reversed(value)) === canonicalJson(value)));
  });

  it('keeps every value: parsing gives it back', () => {
    fc.assert(
      fc.property(json, (value) => {
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  it('sorts keys by UTF-16 code units and prints numbers as RFC 8785 does', () => {
    const keys = ['\u20ac', '\r', '\ufb33', '1', '\u{1f600}', '\u0080', '\u00f6'];
    const text = canonicalJson(Object.fromEntries(keys.map((key, value) => [key, value])));
    expect(text).toBe('{"\\r":1,"1":3,"\u0080":5,"\u00f6":6,"\u20ac":0,"\u{1f600}":4,"\ufb33":2}');
    expect(canonicalJson([333333333.3333333, 1e30, 4.5, 2e-3, 1e-27, -0])).toBe(
      '[333333333.3333333,1e+30,4.5,0.002,1e-27,0]',
    );
    expect(canonicalJson('\u20ac$\u000f\nA\'B"\\"/')).toBe('"\u20ac$\\u000f\\nA\'B\\"\\\\\\"/"');
  });

  it.each<[string, unknown, string]>([
    ['undefined', { a: { b: [1, undefined] } }, '$.a.b[1]: undefined'],
    ['a hole', { a: new Array(1) }, '$.a[0]: undefined'],
    ['NaN', [[Number.NaN]], '$[0][0]: NaN'],
    ['infinity', { x: Number.NEGATIVE_INFINITY }, '$.x: -Infinity'],
    ['a bigint', { n: 1n }, '$.n: bigint'],
    ['a function', { f: () => 1 }, '$.f: function'],
    ['a date', { at: new Date(0) }, '$.at: an instance of Date'],
    ['bytes', { bytes: new Uint8Array(2) }, '$.bytes: an instance of Uint8Array'],
    ['a lone surrogate', { s: '\ud800' }, '$.s: a string with lone surrogates'],
    ['a key with a lone surrogate', { a: { '\udc00': 1 } }, '$.a: a string with lone surrogates'],
  ])('refuses %s and names its path', (_, value, message) => {
    expect(() => canonicalJson(value as CanonicalValue)).toThrow(AlgorithmError);
    expect(() => canonicalJson(value as CanonicalValue)).toThrow(message);
  });

  it('refuses what is nested too deep, before the stack ends', () => {
    const nested = (depth: number) => JSON.parse('['.repeat(depth) + ']'.repeat(depth)) as CanonicalValue;
    expect(canonicalJson(nested(512))).toHaveLength(1024);
    for (const depth of [513, 100_000]) expect(() => canonicalJson(nested(depth))).toThrow(AlgorithmError);
  });

  it('refuses a cycle, but not the same object twice', () => {
    const shared = { x: 1 };
    expect(canonicalJson({ a: shared, b: [shared] })).toBe('{"a":{"x":1},"b":[{"x":1}]}');
    const loop: Record<string, unknown> = {};
    loop.self = { again: loop };
    expect(() => canonicalJson(loop as CanonicalValue)).toThrow('$.self.again: a cycle');
  });
});

describe('digests', () => {
  it('agree with FIPS 180-4 and RFC 4231', () => {
    expect(sha256Hex('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
    expect(sha256Hex(new Uint8Array([0x61, 0x62, 0x63]))).toBe(sha256Hex('abc'));
    const mac = '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843';
    expect(hmacSha256Hex('Jefe', 'what do ya want for nothing?')).toBe(mac);
    const prepared = preparedHmac('Jefe');
    prepared('something else before');
    expect(prepared('what do ya want for nothing?')).toBe(mac);
  });

  it('hash the canonical JSON', () => {
    expect(digestOf({ b: 1, a: [true, null] })).toBe(sha256Hex('{"a":[true,null],"b":1}'));
  });

  it('refuse strings that UTF-8 would merge', () => {
    expect(() => sha256Hex('\ud800')).toThrow(AlgorithmError);
    expect(() => hmacSha256Hex('key', '\udfff')).toThrow(AlgorithmError);
  });
});
