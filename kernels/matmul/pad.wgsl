// The texture form of a tensor whose rows do not fill whole texels (columns % 4 != 0): the same rows, padded with zeros to the
// next texel. All other texture forms are byte copies of their buffer and need no kernel. See matmul/panel.
//
// 0: the tensor [rows, columns]    1: its texture form, 2^FORM_BITS texels a row    2: params
const FORM_BITS: u32 = 10u;
const GROUP: u32 = 64u;

struct Params {
  rows: u32,
  columns: u32,
}

@group(0) @binding(0) var<storage, read> source: array<f32>;
@group(0) @binding(1) var form: texture_storage_2d<rgba32float, write>;
@group(0) @binding(2) var<uniform> params: Params;

fn element(row: u32, column: u32) -> f32 {
  if (column < params.columns) {
    return source[row * params.columns + column];
  }
  return 0.0;
}

/** A workgroup row of the grid writes one row of the texture. */
@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let width = (params.columns + 3u) / 4u;
  let texel = (id.y << FORM_BITS) + id.x;
  let row = texel / width;
  if (row >= params.rows) {
    return;
  }
  let column = texel % width * 4u;
  let value = vec4f(
    element(row, column),
    element(row, column + 1u),
    element(row, column + 2u),
    element(row, column + 3u),
  );
  textureStore(form, id.xy, value);
}
