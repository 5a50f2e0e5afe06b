// y = (x - mean) / sqrt(variance + epsilon) * weight + bias over the last axis: one invocation a row.
// The mean comes first and the variance of the differences second: one pass over both would lose digits.

struct Params { rows: u32, width: u32, epsilon: u32, pad: u32 }

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> weight: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = id.x + id.y * groups.x * 8u;
  if (row >= params.rows) {
    return;
  }
  let width = params.width / 4u;
  let base = row * width;
  let count = f32(params.width);
  var sum = vec4f(0.0);
  for (var i = 0u; i < width; i++) { sum += x[base + i]; }
  let mean = dot(sum, vec4f(1.0)) / count;
  var squares = vec4f(0.0);
  for (var i = 0u; i < width; i++) {
    let d = x[base + i] - mean;
    squares += d * d;
  }
  let scale = inverseSqrt(dot(squares, vec4f(1.0)) / count + bitcast<f32>(params.epsilon));
  for (var i = 0u; i < width; i++) {
    y[base + i] = (x[base + i] - mean) * scale * weight[i] + bias[i];
  }
}
