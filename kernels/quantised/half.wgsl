// How f32 arithmetic reads and writes tensors that are stored as f16: the engine appends this to a kernel that it gives some,
// and puts these functions around the kernel's loads and stores. Two f16 lie in a word, the first in its low bits.
//
// Rounded to the nearest, ties to even, in integers: pack2x16float and f16() may take either neighbour, as the adapter likes.

/** The bits of f16, four at a time; beyond 65,504 infinity. See quantised/to_half. */
fn half_bits(v: vec4f) -> vec4u {
  let word = bitcast<vec4u>(v);
  let magnitude = word & vec4u(0x7fffffffu);
  // A carry out of the mantissa raises the exponent, as it should.
  let scaled = magnitude - vec4u(0x38000000u);
  let normal = (scaled + 0xfffu + ((scaled >> vec4u(13u)) & vec4u(1u))) >> vec4u(13u);
  // Below 2^-14: whole multiples of 2^-24. What is shifted by 25 is zero.
  let shift = min(vec4u(126u) - (magnitude >> vec4u(23u)), vec4u(25u));
  let mantissa = (magnitude & vec4u(0x7fffffu)) | vec4u(0x800000u);
  let half_way = (vec4u(1u) << (shift - 1u)) - 1u;
  let small = (mantissa + half_way + ((mantissa >> shift) & vec4u(1u))) >> shift;
  let finite = select(small, normal, magnitude >= vec4u(0x38800000u));
  let other = select(vec4u(0x7c00u), vec4u(0x7e00u), magnitude > vec4u(0x7f800000u));
  return ((word >> vec4u(16u)) & vec4u(0x8000u)) | select(finite, other, magnitude >= vec4u(0x47800000u));
}

fn from_halves(words: vec2u) -> vec4f {
  return vec4f(unpack2x16float(words.x), unpack2x16float(words.y));
}

fn to_halves(v: vec4f) -> vec2u {
  let bits = half_bits(v);
  return bits.xz | (bits.yw << vec2u(16u));
}

/** Element i of an array of f16, in the word that holds it. */
fn from_half(word: u32, i: u32) -> f32 {
  return unpack2x16float(word)[i % 2u];
}
