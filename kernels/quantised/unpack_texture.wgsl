// The texture form of a packed weight: its values as f32, rows padded with zeros to whole texels. See quantised/unpack for how it
// is packed, and matmul/panel for what texture forms are. A word is loaded once a texel where rows fill whole texels. What is divided
// by is constant: rasterisers on a CPU divide lane by lane.
//
// 0: the packed words    1: texture form, 2^FORM_BITS texels a row    2: params
const BITS: u32 = 8u;
const COLUMNS: u32 = 64u;
/** How many elements share a scale. */
const GROUP: u32 = 64u;
const FORM_BITS: u32 = 10u;

struct Params {
  rows: u32,
  /** The word of the first scale. */
  scales: u32,
}

@group(0) @binding(0) var<storage, read> packed: array<u32>;
@group(0) @binding(1) var form: texture_storage_2d<rgba32float, write>;
@group(0) @binding(2) var<uniform> params: Params;

fn element(i: u32) -> f32 {
  let word = packed[i / (32u / BITS)];
  if (BITS == 16u) {
    return unpack2x16float(word)[i % 2u];
  }
  let level = extractBits(bitcast<i32>(word), i % (32u / BITS) * BITS, BITS);
  return f32(level) * bitcast<f32>(packed[params.scales + i / GROUP]);
}

/** Four elements of one row, the first a multiple of four: they share a scale, and a word if there are 8 or fewer bits. */
fn four(i: u32) -> vec4f {
  let at = i / (32u / BITS);
  if (BITS == 16u) {
    return vec4f(unpack2x16float(packed[at]), unpack2x16float(packed[at + 1u]));
  }
  let word = bitcast<i32>(packed[at]);
  let shift = i % (32u / BITS) * BITS;
  let levels = vec4i(
    extractBits(word, shift, BITS),
    extractBits(word, shift + BITS, BITS),
    extractBits(word, shift + 2u * BITS, BITS),
    extractBits(word, shift + 3u * BITS, BITS),
  );
  return vec4f(levels) * bitcast<f32>(packed[params.scales + i / GROUP]);
}

/** A workgroup row of the grid writes one row of the texture. */
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let width = (COLUMNS + 3u) / 4u;
  let texel = (id.y << FORM_BITS) + id.x;
  let row = texel / width;
  if (row >= params.rows) {
    return;
  }
  let column = texel % width * 4u;
  let first = row * COLUMNS + column;
  var value = vec4f();
  if (COLUMNS % 4u == 0u) {
    value = four(first);
  } else {
    for (var j = 0u; j < min(4u, COLUMNS - column); j++) {
      value[j] = element(first + j);
    }
  }
  textureStore(form, id.xy, value);
}
