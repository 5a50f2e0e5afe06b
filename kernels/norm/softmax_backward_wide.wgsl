// norm/softmax_backward for rows of whole vec4. The sum takes the elements in the same order, so the bits are the same.

struct Params { rows: u32, width: u32, pad0: u32, pad1: u32 }

@group(0) @binding(0) var<storage, read> y: array<vec4f>;
@group(0) @binding(1) var<storage, read> gradient: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> dx: array<vec4f>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = id.x + id.y * groups.x * 8u;
  if (row >= params.rows) {
    return;
  }
  let width = params.width / 4u;
  let base = row * width;
  var sum = 0.0;
  for (var i = 0u; i < width; i++) {
    let p = gradient[base + i] * y[base + i];
    sum = sum + p.x + p.y + p.z + p.w;
  }
  for (var i = 0u; i < width; i++) { dx[base + i] = y[base + i] * (gradient[base + i] - sum); }
}
