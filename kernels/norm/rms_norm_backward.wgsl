// The gradient of rms_norm for x. With h = gradient * weight:
//   dx = scale * (h - x * scale^2 * mean(h * x))
// The scale is computed again: it takes the same pass over x that mean(h * x) needs anyway.

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
  var squares = vec4f(0.0);
  var products = vec4f(0.0);
  for (var i = 0u; i < width; i++) {
    let value = x[base + i];
    squares += value * value;
    products += gradient[base + i] * weight[i] * value;
  }
  let scale = inverseSqrt(dot(squares, vec4f(1.0)) / count + bitcast<f32>(params.epsilon));
  let slope = dot(products, vec4f(1.0)) / count * scale * scale;
  for (var i = 0u; i < width; i++) {
    dx[base + i] = scale * (gradient[base + i] * weight[i] - x[base + i] * slope);
  }
}
