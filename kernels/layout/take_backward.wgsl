// The gradient of layout/take: dx[row, i] = the sum of dy[row, j] over j with index[row, j] = i, in the order of j.

struct Params { count: u32, width: u32, taken: u32, pad: u32 }

@group(0) @binding(0) var<storage, read> index: array<u32>;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= params.count) {
    return;
  }
  let base = i / params.width * params.taken;
  var sum = 0.0;
  for (var j = 0u; j < params.taken; j++) {
    if (min(index[base + j], params.width - 1u) == i % params.width) {
      sum += dy[base + j];
    }
  }
  dx[i] = sum;
}
