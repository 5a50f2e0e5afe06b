// The gradient of softmax from its output: dx = y * (g - sum(g * y)). One invocation a row.

struct Params { rows: u32, width: u32, pad0: u32, pad1: u32 }

@group(0) @binding(0) var<storage, read> y: array<f32>;
@group(0) @binding(1) var<storage, read> gradient: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = id.x + id.y * groups.x * 8u;
  if (row >= params.rows) {
    return;
  }
  let base = row * params.width;
  var sum = 0.0;
  for (var i = 0u; i < params.width; i++) { sum += gradient[base + i] * y[base + i]; }
  for (var i = 0u; i < params.width; i++) { dx[base + i] = y[base + i] * (gradient[base + i] - sum); }
}
