// f32 to f16, two a word, rounded to the nearest, ties to even. In integers, because pack2x16float may round either way.
//
// 0: x, the bits of f32    1: packed words    2: params
struct Params {
  count: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> packed: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

fn half(word: u32) -> u32 {
  let sign = (word >> 16u) & 0x8000u;
  let magnitude = word & 0x7fffffffu;
  if (magnitude >= 0x47800000u) {
    return sign | select(0x7c00u, 0x7e00u, magnitude > 0x7f800000u);
  }
  // A carry out of the mantissa raises the exponent, as it should.
  if (magnitude >= 0x38800000u) {
    let scaled = magnitude - 0x38000000u;
    return sign | ((scaled + 0xfffu + ((scaled >> 13u) & 1u)) >> 13u);
  }
  let exponent = magnitude >> 23u;
  if (exponent < 102u) {
    return sign;
  }
  let shift = 126u - exponent;
  let mantissa = (magnitude & 0x7fffffu) | 0x800000u;
  return sign | ((mantissa + (1u << (shift - 1u)) - 1u + ((mantissa >> shift) & 1u)) >> shift);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (2u * i >= params.count) {
    return;
  }
  var word = half(x[2u * i]);
  if (2u * i + 1u < params.count) {
    word |= half(x[2u * i + 1u]) << 16u;
  }
  packed[i] = word;
}
