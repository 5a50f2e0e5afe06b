// y = x * scale * weight over the last axis, scale = 1 / sqrt(mean(x^2) + epsilon): one invocation a row.

struct Params { rows: u32, width: u32, epsilon: u32, pad: u32 }

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> weight: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = id.x + id.y * groups.x * 8u;
  if (row >= params.rows) {
    return;
  }
  let width = params.width / 4u;
  let base = row * width;
  var squares = vec4f(0.0);
  for (var i = 0u; i < width; i++) { squares += x[base + i] * x[base + i]; }
  let mean = dot(squares, vec4f(1.0)) / f32(params.width);
  let scale = inverseSqrt(mean + bitcast<f32>(params.epsilon));
  for (var i = 0u; i < width; i++) { y[base + i] = x[base + i] * scale * weight[i]; }
}
