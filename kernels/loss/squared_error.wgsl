// Per row: weight * mean of (x - target)^2 over the row. One invocation a row.

struct Params { rows: u32, width: u32, pad0: u32, pad1: u32 }

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> goal: array<f32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = id.x + id.y * groups.x * 8u;
  if (row >= params.rows) {
    return;
  }
  let base = row * params.width;
  var sum = 0.0;
  for (var i = 0u; i < params.width; i++) {
    let d = x[base + i] - goal[base + i];
    sum += d * d;
  }
  losses[row] = weights[row] * (sum / f32(params.width));
}
