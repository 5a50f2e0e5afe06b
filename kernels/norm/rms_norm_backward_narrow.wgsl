// norm/rms_norm_backward for rows that fit into registers. One invocation a row.

const width4: u32 = 16u; // row width / 4

struct Params { rows: u32, width: u32, epsilon: u32, pad: u32 }

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> weight: array<vec4f>;
@group(0) @binding(2) var<storage, read> gradient: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> dx: array<vec4f>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = id.x + id.y * groups.x * 8u;
  let base = min(row, params.rows - 1u) * width4;
  let count = f32(width4 * 4u);
  var values: array<vec4f, width4>;
  var incoming: array<vec4f, width4>;
  var squares = vec4f(0.0);
  var products = vec4f(0.0);
  // @unroll
  for (var i = 0u; i < width4; i++) {
    values[i] = x[base + i];
    incoming[i] = gradient[base + i] * weight[i];
    squares += values[i] * values[i];
    products += incoming[i] * values[i];
  }
  let scale = inverseSqrt(dot(squares, vec4f(1.0)) / count + bitcast<f32>(params.epsilon));
  let slope = dot(products, vec4f(1.0)) / count * scale * scale;
  if (row < params.rows) {
    // @unroll
    for (var i = 0u; i < width4; i++) {
      dx[base + i] = scale * (incoming[i] - values[i] * slope);
    }
  }
}
