// y = exp(x - max) / sum over the last axis: one invocation a row.

struct Params { rows: u32, width: u32, pad0: u32, pad1: u32 }

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = id.x + id.y * groups.x * 8u;
  if (row >= params.rows) {
    return;
  }
  let base = row * params.width;
  var largest = x[base];
  for (var i = 1u; i < params.width; i++) { largest = max(largest, x[base + i]); }
  var sum = 0.0;
  for (var i = 0u; i < params.width; i++) { sum += exp(x[base + i] - largest); }
  for (var i = 0u; i < params.width; i++) { y[base + i] = exp(x[base + i] - largest) / sum; }
}
