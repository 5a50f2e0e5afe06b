// The gradient of layer_norm for x. With n = (x - mean) * scale and h = gradient * weight:
//   dx = scale * (h - mean(h) - n * mean(h * n))
// Mean and scale are computed again: reading x twice more is cheaper than keeping them.

struct Params { rows: u32, width: u32, epsilon: u32, pad: u32 }

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> weight: array<vec4f>;
@group(0) @binding(2) var<storage, read> gradient: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> dx: array<vec4f>;
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
  var sum_h = vec4f(0.0);
  var sum_hn = vec4f(0.0);
  for (var i = 0u; i < width; i++) {
    let h = gradient[base + i] * weight[i];
    sum_h += h;
    sum_hn += h * (x[base + i] - mean) * scale;
  }
  let mean_h = dot(sum_h, vec4f(1.0)) / count;
  let mean_hn = dot(sum_hn, vec4f(1.0)) / count;
  for (var i = 0u; i < width; i++) {
    let n = (x[base + i] - mean) * scale;
    dx[base + i] = scale * (gradient[base + i] * weight[i] - mean_h - n * mean_hn);
  }
}
