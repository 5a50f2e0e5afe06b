import { describe, expect, test } from 'vitest';
import { EngineError } from './errors.ts';
import { specialise } from './specialise.ts';

const module = `
// A comment that mentions const TILE: u32 = 1u; must not be touched.
const TILE: u32 = 16u;
const HALF = TILE / 2u;
const SCALE: f32 = 1.0;
const OFFSET: i32 = -1i;
const PADDED: bool = false;
const GUESSED = 3u;
alias Element = f32; // of A
`;

describe('constants and aliases', () => {
  test('are replaced in their declaration only', () => {
    const text = specialise('demo', module, {
      TILE: 32,
      SCALE: 1e-5,
      OFFSET: 4,
      PADDED: true,
      GUESSED: 7,
      Element: 'f16',
    });
    expect(text).toContain('const TILE: u32 = 32u;');
    expect(text).toContain('mentions const TILE: u32 = 1u;');
    expect(text).toContain('const HALF = TILE / 2u;');
    expect(text).toContain('const SCALE: f32 = 0.00001f;');
    expect(text).toContain('const OFFSET: i32 = 4i;');
    expect(text).toContain('const PADDED: bool = true;');
    expect(text).toContain('const GUESSED = 7u;');
    expect(text).toContain('alias Element = f16; // of A');
  });

  test('a string is any expression', () => {
    expect(specialise('demo', module, { HALF: 'TILE / 4u' })).toContain('const HALF = TILE / 4u;');
  });

  test('no values, no change', () => {
    expect(specialise('demo', module, {})).toBe(module);
  });

  test.each([
    [{ WIDTH: 1 }, 'kernel demo has no constant or alias named WIDTH'],
    [{ TILE: -1 }, '-1 is no value for constant TILE of type u32'],
    [{ TILE: 1.5 }, '1.5 is no value for constant TILE of type u32'],
    [{ TILE: true }, 'true is no value for constant TILE of type u32'],
    [{ PADDED: 1 }, '1 is no value for constant PADDED of type bool'],
    [{ SCALE: Number.NaN }, 'NaN is no value for constant SCALE of type f32'],
    [{ Element: 4 }, 'alias Element takes the name of a type, not 4'],
  ])('%j is refused', (values, message) => {
    expect(() => specialise('demo', module, values as Record<string, number>)).toThrow(EngineError);
    expect(() => specialise('demo', module, values as Record<string, number>)).toThrow(message);
  });
});

describe('unrolling', () => {
  const squeeze = (text: string): string => text.replace(/\s+/g, ' ').trim();
  const unroll = (text: string, values = {}): string =>
    squeeze(specialise('demo', text, values, { unroll: true }));

  test('is off unless asked for', () => {
    const text = '// @unroll\nfor (var i = 0u; i < 2u; i++) { f(i); }';
    expect(specialise('demo', text, {})).toBe(text);
  });

  test('writes each round in a scope of its own, with the index as a literal', () => {
    const text = '  // @unroll\n  for (var i = 0u; i < 2u; i++) {\n let v = a.i + ii[i]; }\nend();';
    expect(unroll(text)).toBe('{ let v = a.i + ii[0u]; } { let v = a.i + ii[1u]; } end();');
  });

  test('takes limits made of constants, after they were specialised', () => {
    const text =
      'const N: u32 = 8u;\nconst M = N * 2u;\n// @unroll\nfor (var i: u32 = 0u; i < M / 8u + 1u; i += 1u) { f(i); }';
    expect(unroll(text, { N: 4 })).toBe('const N: u32 = 4u; const M = N * 2u; { f(0u); } { f(1u); }');
  });

  test('nests, and an inner limit may use the outer index', () => {
    const text = `// @unroll
for (var i = 1; i < 3; i++) {
  // @unroll
  for (var j = 0; j < i; j++) { f(i, j); }
}`;
    expect(unroll(text)).toBe('{ { f(1, 0); } } { { f(2, 0); } { f(2, 1); } }');
  });

  test('a limit is evaluated with brackets and precedence, and may be zero', () => {
    const text = `const D = 4u;
// @unroll
for (var part = 0u; part < 2u; part++) {
  // @unroll
  for (var k = 0u; k < (D * (1u - part) + 0u * part + 3u) / 4u; k++) { f(part, k); }
}`;
    expect(unroll(text)).toBe('const D = 4u; { { f(0u, 0u); } } { }');
  });

  test('leaves unmarked loops and braces in comments alone', () => {
    const text = `// @unroll
for (var i = 0u; i < 1u; i++) {
  // a stray }
  for (var k = 0u; k < 9u; k++) { f(i, k); }
}`;
    expect(unroll(text)).toBe('{ // a stray } for (var k = 0u; k < 9u; k++) { f(0u, k); } }');
  });

  test.each([
    ['// @unroll\nlet x = 1;', 'kernel demo: @unroll must stand before'],
    ['// @unroll\nfor (var i = 0u; j < 2u; i++) { }', 'the loop over i tests j'],
    ['// @unroll\nfor (var i = 0u; i < 2u; i++) { {', 'has no closing brace'],
    ['// @unroll\nfor (var i = 0u; i < n; i++) { }', 'the limit `n` is not made of integers and constants'],
    ['// @unroll\nfor (var i = 0u; i < 2u; i++) { break; }', 'has a break or continue'],
    ['// @unroll\nfor (var i = 0u; i < 9999u; i++) { }', '9999 copies of the loop over i are too many'],
  ])('%j is an error', (text, message) => {
    expect(() => unroll(text)).toThrow(message);
  });
});
