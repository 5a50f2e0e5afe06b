// norm/rms_norm for rows that fit into registers: each element is loaded once. One invocation a row.

const width4: u32 = 16u; // row width / 4

struct Params { rows: u32, width: u32, epsilon: u32, pad: u32 }

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> weight: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = id.x + id.y * groups.x * 8u;
  let base = min(row, params.rows - 1u) * width4;
  var values: array<vec4f, width4>;
  var squares = vec4f(0.0);
  // @unroll
  for (var i = 0u; i < width4; i++) {
    values[i] = x[base + i];
    squares += values[i] * values[i];
  }
  let mean = dot(squares, vec4f(1.0)) / f32(width4 * 4u);
  let scale = inverseSqrt(mean + bitcast<f32>(params.epsilon));
  // @unroll
  for (var i = 0u; i < width4; i++) {
    values[i] = values[i] * scale * weight[i];
  }
  if (row < params.rows) {
    // @unroll
    for (var i = 0u; i < width4; i++) {
      y[base + i] = values[i];
    }
  }
}
