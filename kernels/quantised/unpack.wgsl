// A packed weight, or `count` of its elements from number `first` on, as f32. Elements of BITS bits fill words from the low bits up; behind them lie the scales, one for every
// `group` elements. 16 bits are f16 and have none.
//
// Both may be stretches of the whole: to the place of a word there, `words` or `scales` is added, modulo 2^32.
//
// 0: the packed words    1: the same, where the scales are    2: y, f32    3: params
const BITS: u32 = 8u;

struct Params {
  count: u32,
  first: u32,
  words: u32,
  /** The word of the first scale. */
  scales: u32,
  group: u32,
}

@group(0) @binding(0) var<storage, read> packed: array<u32>;
@group(0) @binding(1) var<storage, read> scales: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

fn element(i: u32) -> f32 {
  let word = packed[params.words + i / (32u / BITS)];
  if (BITS == 32u) {
    return bitcast<f32>(word);
  }
  if (BITS == 16u) {
    return unpack2x16float(word)[i % 2u];
  }
  let level = extractBits(bitcast<i32>(word), i % (32u / BITS) * BITS, BITS);
  return f32(level) * bitcast<f32>(scales[params.scales + i / params.group]);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i < params.count) {
    y[i] = element(params.first + i);
  }
}
